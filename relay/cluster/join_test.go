package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority is a node on loopback that is the CA.
func authority(t *testing.T) (n *Cluster, dir Dir, address string) {
	t.Helper()
	dir = Dir(filepath.Join(t.TempDir(), "cluster"))
	if err := dir.Init("first"); err != nil {
		t.Fatal(err)
	}
	creds, err := LoadCredentials(dir.Files(), "first")
	if err != nil {
		t.Fatal(err)
	}
	a, err := dir.Authority()
	if err != nil {
		t.Fatal(err)
	}
	n = &Cluster{Node: "first", Epoch: 1, Credentials: creds, Directory: &board{}, Local: &site{}, Authority: a}
	return n, dir, serve(t, n)
}

// serve lets a node serve on loopback.
func serve(t *testing.T, n *Cluster) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(ln) }()
	t.Cleanup(func() {
		n.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("served with %v", err)
		}
	})
	return ln.Addr().String()
}

// A machine with an invitation becomes a node: its certificate is of the CA and for its
// name, and it has the key of the record. The invitation is good once.
func TestInvitationIsGoodOnce(t *testing.T) {
	n, first, address := authority(t)
	v, err := n.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseInvite(" " + v.String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	dir := Dir(filepath.Join(t.TempDir(), "cluster"))
	if err := dir.Join(t.Context(), again, "second"); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCredentials(dir.Files(), "second"); err != nil {
		t.Error(err)
	}
	if _, err := LoadCredentials(dir.Files(), "first"); err == nil {
		t.Error("the certificate is for another node, too")
	}
	want, _ := os.ReadFile(first.RecordKey())
	if got, err := ReadRecordKey(dir.RecordKey()); err != nil || string(got) != string(want) {
		t.Errorf("the record's key: %v", err)
	}
	if _, err := dir.Authority(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the new node has the CA: %v", err)
	}
	for _, name := range []string{"node.key", "record.key"} {
		if info, err := os.Stat(dir.file(name)); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := dir.Join(t.Context(), again, "second"); !errors.Is(err, ErrIsNode) {
		t.Errorf("joined over a node's files: %v", err)
	}
	other := Dir(filepath.Join(t.TempDir(), "cluster"))
	if err := other.Join(t.Context(), again, "third"); err == nil || !strings.Contains(err.Error(), errNotInvited.Error()) {
		t.Errorf("joined a second time: %v", err)
	}
	if _, err := os.Stat(other.file("node.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key is left: %v", err)
	}
}

// Of several machines with one invitation one gets in.
func TestOneOfSeveralGetsTheInvitation(t *testing.T) {
	n, _, address := authority(t)
	v, err := n.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for range 4 {
		dir := Dir(filepath.Join(t.TempDir(), "cluster"))
		wg.Go(func() {
			if dir.Join(t.Context(), v, "second") == nil {
				mu.Lock()
				in++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if in != 1 {
		t.Errorf("%d got in", in)
	}
}

// A secret that is wrong, or whose time is over, gets nothing; after ten wrong ones in a
// minute the right one gets nothing either.
func TestWrongInvitationsAreFew(t *testing.T) {
	n, _, address := authority(t)
	v, err := n.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	late, err := n.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.Authority.dir.file("invites"), "x")
	files, _ := os.ReadDir(n.Authority.dir.file("invites"))
	if len(files) != 2 {
		t.Fatalf("%d invitations are kept", len(files))
	}
	for _, f := range files { // nobody who reads the files has a secret
		file = filepath.Join(filepath.Dir(file), f.Name())
		b, _ := os.ReadFile(file)
		if strings.Contains(string(b), string(v.Secret[:])) {
			t.Error("the secret is kept")
		}
		k, _ := readKept(file)
		k.Until = time.Now().Add(-time.Second)
		if strings.HasPrefix(f.Name(), hexID(late)) {
			b, _ := json.Marshal(k)
			os.WriteFile(file, b, 0o600)
		}
	}
	join := func(v *Invite) error {
		return Dir(filepath.Join(t.TempDir(), "cluster")).Join(t.Context(), v, "second")
	}
	if err := join(late); err == nil || !strings.Contains(err.Error(), errNotInvited.Error()) {
		t.Errorf("joined late: %v", err)
	}
	wrong := *v
	wrong.Secret[0] ^= 1
	for range maxGuesses - 1 {
		if err := join(&wrong); err == nil || !strings.Contains(err.Error(), errNotInvited.Error()) {
			t.Fatalf("joined with a wrong secret: %v", err)
		}
	}
	if err := join(v); err == nil || !strings.Contains(err.Error(), "too many wrong invitations") {
		t.Errorf("joined after many wrong ones: %v", err)
	}
	n.joins.guesses.since = time.Now().Add(-time.Minute)
	if err := join(v); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// Strangers keep no invitation waiting: neither by connections on which they ask nothing, nor by
// questions with invitations that there are not.
func TestStrangersKeepNoInvitationWaiting(t *testing.T) {
	n, _, address := authority(t)
	v, err := n.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *tls.Conn {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtocolJoin}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.NetConn().Close() })
		return c
	}
	for range 10 {
		io.WriteString(ask(), `{"node":`)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxGuesses + 1 {
		q := joinQuestion{Node: "x", ID: []byte{byte(i), 1, 2, 3, 4, 5, 6, 7}, Secret: v.Secret[:]}
		if _, err := q.ask(ask(), key); err == nil || err.Error() != errNotInvited.Error() {
			t.Fatalf("asked without an invitation: %v", err)
		}
	}
	if err := Dir(filepath.Join(t.TempDir(), "cluster")).Join(t.Context(), v, "second"); err != nil {
		t.Error(err)
	}
}

// A stranger makes a node compute no signature but of the kind that nodes have, and fills no
// log.
func TestStrangersQuestionsCostLittle(t *testing.T) {
	ca, _, _ := authority(t)
	var log lockedBuffer
	n := &Cluster{Node: "first", Epoch: 1, Credentials: ca.Credentials, Directory: &board{}, Local: &site{}, Authority: ca.Authority, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	address := serve(t, n)
	v, err := n.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	small, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	for range 3 {
		for _, key := range []any{small, other} {
			c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtocolJoin}})
			if err != nil {
				t.Fatal(err)
			}
			q := joinQuestion{Node: "x", ID: v.ID[:], Secret: v.Secret[:]}
			if _, err := q.ask(c, key); err == nil || err.Error() != errNoRequest.Error() {
				t.Errorf("asked with %T: %v", key, err)
			}
			c.NetConn().Close()
		}
	}
	if lines := strings.Count(log.String(), "does not get a node's certificate"); lines != 1 {
		t.Errorf("%d lines in the log:\n%s", lines, log.String())
	}
}

func hexID(v *Invite) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range v.ID {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// The secret goes to nobody but a node of the cluster that it was made for.
func TestSecretGoesToTheRightClusterAlone(t *testing.T) {
	n, _, _ := authority(t)
	_, _, elsewhere := authority(t)
	v, err := n.Authority.Invite(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	dir := Dir(filepath.Join(t.TempDir(), "cluster"))
	if err := dir.Join(t.Context(), v, "second"); err == nil || !strings.Contains(err.Error(), "not of the cluster") {
		t.Errorf("joined with %v", err)
	}
	files, _ := os.ReadDir(n.Authority.dir.file("invites"))
	if len(files) != 1 {
		t.Error("the invitation is used up")
	}
}

// So many invitations are open at once, and no more; those whose time is over make room.
func TestInvitationsAreFew(t *testing.T) {
	n, _, address := authority(t)
	for range maxInvites {
		if _, err := n.Authority.Invite(address); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Authority.Invite(address); err == nil {
		t.Error("one more")
	}
}

// Whoever has no certificate of the CA gets neither the nodes' connection nor a hop, and
// learns no name.
func TestRogueWithoutACertificateGetsNoConnection(t *testing.T) {
	n, _, address := authority(t)
	_, foreign, _ := authority(t)
	other, err := LoadCredentials(foreign.Files(), "first")
	if err != nil {
		t.Fatal(err)
	}
	for _, alpn := range []string{ProtocolNode, ProtocolHop, "h2", ""} {
		for name, certs := range map[string][]tls.Certificate{"none": nil, "of another CA": {other.now.Load().cert}} {
			config := &tls.Config{RootCAs: n.Credentials.now.Load().roots, ServerName: "first", Certificates: certs}
			if alpn != "" {
				config.NextProtos = []string{alpn}
			}
			raw, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			raw.SetDeadline(time.Now().Add(patience))
			conn := tls.Client(raw, config)
			conn.Write((&hello{node: "second", epoch: 1}).record())
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s with a certificate %s: %d bytes came", alpn, name, n)
			}
			raw.Close()
		}
	}
	if got := n.Nodes(); len(got) != 1 {
		t.Errorf("nodes: %+v", got)
	}
}

// A node whose certificate is due gets a new one for its key from the CA, by itself.
func TestCertificateIsRenewed(t *testing.T) {
	ca, _, address := authority(t)
	v, err := ca.Authority.Invite(address)
	if err != nil {
		t.Fatal(err)
	}
	dir := Dir(filepath.Join(t.TempDir(), "cluster"))
	if err := dir.Join(t.Context(), v, "second"); err != nil {
		t.Fatal(err)
	}
	creds, err := LoadCredentials(dir.Files(), "second")
	if err != nil {
		t.Fatal(err)
	}
	was, machine := creds.now.Load().cert.Leaf, creds.machine()
	if creds.isDue(time.Now()) || !creds.isDue(was.NotAfter.Add(-certificateTime/4)) {
		t.Error("a year's certificate is due with a third of it left")
	}
	n := &Cluster{Node: "second", Epoch: 1, Credentials: creds, Directory: &board{}, Local: &site{}}
	serve(t, n)
	n.init()
	n.list["first"] = &member{node: "first", announcement: announcement{About: About{Address: address}}}
	cert, err := n.renewAt("first")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.file("node.pem"), cert, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(dir.file("node.pem"), time.Time{}, time.Now().Add(time.Hour))
	if changed, err := creds.Reload(); !changed || err != nil {
		t.Fatalf("%v, %v", changed, err)
	}
	if now := creds.now.Load().cert.Leaf; now.SerialNumber.Cmp(was.SerialNumber) == 0 || creds.machine() != machine {
		t.Error("it is the same certificate, or for another key")
	}
	// Those who have no certificate do not keep it from that, whatever they hold.
	ca.joins.strangers.Lock()
	if _, err := n.renewAt("first"); err != nil {
		t.Errorf("while a stranger is answered: %v", err)
	}
	ca.joins.strangers.Unlock()
	// The CA renews its own without asking.
	was = ca.Credentials.now.Load().cert.Leaf
	ca.init()
	if err := ca.renew(); err != nil {
		t.Fatal(err)
	}
	if ca.Credentials.now.Load().cert.Leaf.SerialNumber.Cmp(was.SerialNumber) == 0 {
		t.Error("the CA's own certificate is the same")
	}
	// A node gets none for another name.
	n.Node = "first"
	if _, err := n.renewAt("first"); err == nil {
		t.Error("a node got the certificate of another")
	}
}

// Files that were changed to what cannot be used leave what is in use.
func TestBrokenFilesLeaveWhatIsInUse(t *testing.T) {
	ca, dir, _ := authority(t)
	was := ca.Credentials.now.Load()
	if err := os.WriteFile(dir.file("node.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := ca.Credentials.Reload(); changed || err == nil {
		t.Errorf("%v, %v", changed, err)
	}
	if ca.Credentials.now.Load() != was {
		t.Error("what was in use is not any more")
	}
}

// What is no invitation is said to be none.
func TestTextsThatAreNoInvitation(t *testing.T) {
	good := (&Invite{Address: "a:1"}).String()
	for _, text := range []string{"", "keystay-join-1.", good[:len(good)-8], good[1:], good + "!", (&Invite{Address: "no port"}).String(), (&Invite{Address: strings.Repeat("a", 400) + ":1"}).String()} {
		if _, err := ParseInvite(text); err == nil {
			t.Errorf("%q is one", text)
		}
	}
	if _, err := ParseInvite(good); err != nil {
		t.Error(err)
	}
}

// A client that asks and says nothing takes no place for longer than its time.
func TestJoinHasATimeLimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := r.start(r.node("a", func(c *Cluster) { c.Authority = r.ca }))
		for range 9 {
			c, err := n.ln.Dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtocolJoin}})
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
		}
		calm(joinTimeout + time.Second)
		n.listener.mu.Lock()
		defer n.listener.mu.Unlock()
		if got := len(n.listener.conns); got != 0 {
			t.Errorf("%d places are taken", got)
		}
	})
}
