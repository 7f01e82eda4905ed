package framing_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/internal/testca"
)

const relayName = "relay.test"

// A tlsRig has TLS connections to a relay, in memory.
type tlsRig struct {
	server, client *tls.Config
}

func newTLSRig(t testing.TB) *tlsRig {
	ca := testca.New(t)
	return &tlsRig{
		server: &tls.Config{Certificates: []tls.Certificate{ca.Issue(relayName)}, NextProtos: []string{framing.Protocol}},
		client: &tls.Config{RootCAs: ca.Pool(), ServerName: relayName, NextProtos: []string{framing.Protocol}},
	}
}

// dial returns the two ends of a new TLS connection after its handshake.
func (r *tlsRig) dial(t testing.TB) (relay, remote *tls.Conn) {
	t.Helper()
	a, b := memconn.Pipe(0)
	relay, remote = tls.Server(a, r.server), tls.Client(b, r.client)
	t.Cleanup(func() { a.Close(); b.Close() })
	done := make(chan error, 1)
	go func() { done <- relay.Handshake() }()
	if err := errors.Join(remote.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return relay, remote
}

func newKey(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestProof(t *testing.T) {
	rig := newTLSRig(t)
	relay, remote := rig.dial(t)
	rs, cs := relay.ConnectionState(), remote.ConnectionState()
	key := newKey(t)
	var h framing.Hello
	if err := h.Sign(key, &cs, relayName); err != nil {
		t.Fatal(err)
	}
	if err := h.Verify(&rs, relayName); err != nil {
		t.Fatal(err)
	}
	if !key.Public().(ed25519.PublicKey).Equal(h.Key) {
		t.Error("the hello has another key")
	}

	otherRelay, _ := rig.dial(t)
	other := otherRelay.ConnectionState()
	flipped := h
	flipped.Signature = append([]byte{h.Signature[0] ^ 1}, h.Signature[1:]...)
	anotherKey := h
	anotherKey.Key = newKey(t).Public().(ed25519.PublicKey)
	shortKey, shortSig := h, h
	shortKey.Key, shortSig.Signature = h.Key[:31], h.Signature[:63]
	for name, c := range map[string]struct {
		hello framing.Hello
		conn  *tls.ConnectionState
		relay string
	}{
		"another connection":     {h, &other, relayName},
		"another relay name":     {h, &rs, "other.test"},
		"the name in upper case": {h, &rs, "RELAY.test"},
		"a name that goes on":    {h, &rs, relayName + "\x00"},
		"another key":            {anotherKey, &rs, relayName},
		"a changed signature":    {flipped, &rs, relayName},
		"a short key":            {shortKey, &rs, relayName},
		"a short signature":      {shortSig, &rs, relayName},
		"nothing":                {framing.Hello{}, &rs, relayName},
	} {
		if err := c.hello.Verify(c.conn, c.relay); !errors.Is(err, framing.ErrProof) {
			t.Errorf("%s: %v, want ErrProof", name, err)
		}
	}
}

// A resumed connection is another connection: the proof of the first is worth
// nothing on it, and a new one holds.
func TestProofOnResumedConnection(t *testing.T) {
	rig := newTLSRig(t)
	rig.client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	relay, remote := rig.dial(t)
	cs := remote.ConnectionState()
	var first framing.Hello
	if err := first.Sign(newKey(t), &cs, relayName); err != nil {
		t.Fatal(err)
	}
	go relay.Write([]byte("x")) // the ticket comes before it
	if _, err := io.ReadFull(remote, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	relay, remote = rig.dial(t)
	rs, cs := relay.ConnectionState(), remote.ConnectionState()
	if !rs.DidResume {
		t.Fatal("not resumed")
	}
	if err := first.Verify(&rs, relayName); !errors.Is(err, framing.ErrProof) {
		t.Errorf("the first connection's proof: %v", err)
	}
	again := first
	if err := again.Sign(newKey(t), &cs, relayName); err != nil {
		t.Fatal(err)
	}
	if err := again.Verify(&rs, relayName); err != nil {
		t.Errorf("its own proof: %v", err)
	}
}

// Below TLS 1.3 no proof is made, and none accepted.
func TestNoProofBelowTLS13(t *testing.T) {
	rig := newTLSRig(t)
	rig.client.MaxVersion = tls.VersionTLS12
	relay, remote := rig.dial(t)
	rs, cs := relay.ConnectionState(), remote.ConnectionState()
	var h framing.Hello
	if err := h.Sign(newKey(t), &cs, relayName); err == nil || h.Signature != nil {
		t.Errorf("signed over TLS 1.2: %v", err)
	}
	h = framing.Hello{Key: make([]byte, 32), Signature: make([]byte, 64)}
	if err := h.Verify(&rs, relayName); err == nil {
		t.Error("verified over TLS 1.2")
	}
}

// Something between the two that ends TLS, whose certificate the remote even
// trusts, can pass the hello on but not use it.
func TestProofFailsAcrossMiddlebox(t *testing.T) {
	rig := newTLSRig(t)
	box := newTLSRig(t)
	box.client.InsecureSkipVerify = true // a root of its own on the device
	relay, boxOut := rig.dial(t)
	boxIn, remote := box.dial(t)
	go io.Copy(boxOut, boxIn)
	go io.Copy(boxIn, boxOut)

	refused := make(chan error, 1)
	go func() {
		cs := remote.ConnectionState()
		var h framing.Hello
		if err := h.Sign(newKey(t), &cs, relayName); err != nil {
			refused <- err
			return
		}
		_, _, err := framing.Client(t.Context(), remote, h, framing.Handler{})
		refused <- err
	}()
	link, h, err := framing.Server(t.Context(), relay)
	if err != nil {
		t.Fatal(err)
	}
	rs := relay.ConnectionState()
	if err := h.Verify(&rs, relayName); !errors.Is(err, framing.ErrProof) {
		t.Errorf("verify: %v, want ErrProof", err)
	}
	if err := link.Refuse(framing.Refusal{Code: framing.RefusedProof, Text: "no"}); err != nil {
		t.Error(err)
	}
	var r *framing.Refusal
	if err := <-refused; !errors.As(err, &r) || r.Code != framing.RefusedProof || !r.Permanent() {
		t.Errorf("the remote got %v", err)
	}
}
