package relay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// A link may show eight different tokens for names that it is denied. After that
// a token is not looked at, under any policy; what needs none is given as before.
func TestTokensCannotBeGuessedOnOneLink(t *testing.T) {
	const good = "the one good token"
	for p, name := range map[names.Policy]string{names.WithToken: "xyz.relay.test", names.Open: "www.relay.test"} {
		t.Run(string(p), func(t *testing.T) {
			r := newRig(t, policy(p, names.Token{Secret: good, Names: []string{name}}))
			id := newIdentity(t)
			d := r.device(id)
			claim := func(name, token string) error {
				return d.Claim(t.Context(), framing.Claim{Name: name, Token: token})
			}
			for i := range 8 {
				for range 2 { // the same once more is no guess
					if claim(name, fmt.Sprintf("guess %d", i)) == nil {
						t.Fatal("a guess was right")
					}
				}
			}
			if err := claim(name, good); err == nil || !strings.Contains(err.Error(), "too many tokens") {
				t.Errorf("the ninth token: %v", err)
			}
			if err := claim(id.label(), good); err != nil {
				t.Errorf("a name that needs no token: %v", err)
			}
			r.allowed(id, name, good) // on another link
			if err := claim(name, "another"); err != nil {
				t.Errorf("a name that it has by now: %v", err)
			}
		})
	}
}

// However many claims are denied, they do not fill the log.
func TestDeniedClaimsDoNotFillTheLog(t *testing.T) {
	r := newRig(t, policy(names.Closed))
	for range 2 {
		d := r.device(newIdentity(t))
		for i := range 60 {
			denied(t, d.Claim(t.Context(), framing.Claim{Name: fmt.Sprintf("n%d.relay.test", i), Token: "wrong"}), framing.DeniedClosed)
		}
	}
	if n := strings.Count(r.log.String(), "claim denied"); n != 30 {
		t.Errorf("%d lines for 120 claims, want 30", n)
	}
	if strings.Contains(r.log.String(), "wrong") {
		t.Error("a token is in the log")
	}
}

// claim makes one claim on a link of its own.
func (r *rig) claim(id identity, name, token string) error {
	r.t.Helper()
	d, err := r.link(id)
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Close()
	return d.Claim(r.t.Context(), framing.Claim{Name: name, Token: token})
}

// allowed checks that a claim is granted.
func (r *rig) allowed(id identity, name, token string) {
	r.t.Helper()
	if err := r.claim(id, name, token); err != nil {
		r.t.Errorf("claim: %v", err)
	}
}

// backdate moves the time when a name was last seen into the past. The record's
// own time stays: another name is seen now.
func (r *rig) backdate(name string, by time.Duration) error {
	if err := r.srv.Names.Grants.(*names.Grants).Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(filepath.Join(r.dir, "names.db"), 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("grants"))
		var grant struct {
			Key   []byte    `json:"key"`
			Since time.Time `json:"since"`
			Seen  time.Time `json:"seen"`
		}
		if err := json.Unmarshal(b.Get([]byte(name)), &grant); err != nil {
			return err
		}
		grant.Seen = grant.Seen.Add(-by)
		old, _ := json.Marshal(grant)
		grant.Seen = time.Now()
		fresh, _ := json.Marshal(grant)
		return errors.Join(b.Put([]byte(name), old), b.Put([]byte("fresh."+zone), fresh))
	})
	return errors.Join(err, db.Close(), r.srv.Names.Grants.(*names.Grants).Reopen())
}

func policy(p names.Policy, tokens ...names.Token) func(*relay.Server) {
	return func(s *relay.Server) { s.Names.Policy, s.Names.Tokens = p, tokens }
}

// A device is told when its turn at the CA is, why and with what to do it is denied a
// name, and a name that it gives back leads to it no more.
func TestDeviceIsToldOfItsTurnAndOfHints(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.Names.CertificatesPerWeek = 1 })
	a := r.device(newIdentity(t))
	claim := func(name string, certified bool) time.Duration {
		t.Helper()
		c, err := a.Link.Claim(t.Context(), framing.Claim{Name: name, Certified: certified})
		if err != nil {
			t.Fatal(err)
		}
		return c.OrderIn
	}
	if in := claim("first.relay.test", false); in != 0 {
		t.Errorf("the first name waits %v", in)
	}
	if in := claim("second.relay.test", false); in < 6*24*time.Hour || in > 7*24*time.Hour {
		t.Errorf("the second name waits %v", in)
	}
	if in := claim("third.relay.test", true); in != 0 {
		t.Errorf("one with a certificate waits %v", in)
	}
	var d *framing.Denial
	if err := a.Claim(t.Context(), framing.Claim{Name: "www.relay.test"}); !errors.As(err, &d) || d.Hint == "" {
		t.Errorf("denied without a hint: %+v", d)
	}
	if err := a.Release(t.Context(), "first.relay.test"); err != nil {
		t.Fatal(err)
	}
	var no *framing.NotReleased
	if err := a.Release(t.Context(), "first.relay.test"); !errors.As(err, &no) || no.Later {
		t.Errorf("released twice: %v", err)
	}
	if got := r.srv.Served(); slices.Contains(got, "first.relay.test") {
		t.Errorf("visitors are still led to it: %q", got)
	}
	denied(t, r.claim(newIdentity(t), "first.relay.test", ""), framing.DeniedTaken)
}

// A name that the operator takes back, and one whose token is revoked, leave the
// device at once, which is told why.
func TestNamesThatAreTakenBackLeaveTheirDevice(t *testing.T) {
	r := newRig(t, nil)
	secret, info, err := r.srv.Names.CreateToken(names.TokenInfo{Names: []string{"www.relay.test"}})
	if err != nil {
		t.Fatal(err)
	}
	d := r.device(newIdentity(t), "a.relay.test")
	if err := d.Claim(t.Context(), framing.Claim{Name: "www.relay.test", Token: secret}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.srv.Names.Take("a.relay.test", "not nice", false); err != nil {
		t.Fatal(err)
	}
	if l := <-d.lost; l.Name != "a.relay.test" || l.Code != framing.DeniedTaken || !strings.Contains(l.Text, "not nice") {
		t.Errorf("told %+v", l)
	}
	if _, err := r.srv.Names.RevokeToken(info.ID, true); err != nil {
		t.Fatal(err)
	}
	if l := <-d.lost; l.Name != "www.relay.test" || l.Code != framing.DeniedToken {
		t.Errorf("told %+v", l)
	}
	if got := r.srv.Served(); len(got) != 0 {
		t.Errorf("visitors are still led to it: %q", got)
	}
}

func TestInvalidNamesAreDenied(t *testing.T) {
	r := newRig(t, nil)
	a := newIdentity(t)
	for _, name := range []string{"", ".", zone, "test", "relay.test.", "a.relay.test.", "A.relay.test", "a.example.com", "arelay.test",
		"a_b.relay.test", "*.relay.test", "192.0.2.1", "-a.relay.test", strings.Repeat("x", 64) + ".relay.test", "a..relay.test", "a\x00.relay.test"} {
		denied(t, r.claim(a, name, ""), framing.DeniedInvalid)
	}
}

// A link that lasts keeps its names when it ends, however long ago it claimed
// them.
func TestLongLinkKeepsItsNames(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	d := r.device(a, "a.relay.test")
	if err := r.backdate("a.relay.test", names.GrantTime-time.Hour); err != nil {
		t.Fatal(err)
	}
	d.Close()
	r.close() // waits until the session is over
	if err := r.backdate("a.relay.test", 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	again := newRig(t, func(s *relay.Server) { s.Names.Grants = r.srv.Names.Grants })
	denied(t, again.claim(b, "a.relay.test", ""), framing.DeniedTaken)
}

// Who is connected keeps its name for longer than names are kept, whatever the
// record says, and when it comes back.
func TestConnectedNamesDoNotExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		a, b := newIdentity(t), newIdentity(t)
		d := r.device(a, "a.relay.test")
		if err := r.backdate("a.relay.test", 2*names.GrantTime); err != nil {
			t.Fatal(err)
		}
		denied(t, r.claim(b, "a.relay.test", ""), framing.DeniedTaken)
		time.Sleep(2 * time.Hour)
		denied(t, r.claim(b, "x.a.relay.test", ""), framing.DeniedTaken)
		if err := r.backdate("a.relay.test", 2*names.GrantTime); err != nil {
			t.Fatal(err)
		}
		d.Close()
		synctest.Wait()
		denied(t, r.claim(b, "a.relay.test", ""), framing.DeniedTaken)
		r.allowed(a, "a.relay.test", "")
		r.close()
	})
}

// After damage nothing new is given out, which is logged once, and who is
// connected goes on.
func TestConnectedNamesOutliveTheRecord(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	r.device(id, "a.relay.test").echo("a")
	if err := os.WriteFile(filepath.Join(r.dir, "names.db"), bytes.Repeat([]byte{0xff}, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := r.claim(newIdentity(t), "b.relay.test", "")
		denied(t, err, framing.DeniedUnavailable)
	}
	denied(t, r.claim(newIdentity(t), "c.relay.test", ""), framing.DeniedUnavailable)
	r.reaches("a.relay.test", "a")
	other := newIdentity(t)
	r.allowed(other, other.label(), "") // needs no record
	r.waitForLog("cannot decide about a claim")
	if n := bytes.Count([]byte(r.log.String()), []byte("cannot decide about a claim")); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// A fullDisk is a store that cannot be written, for a reason; without one it can.
type fullDisk struct {
	names.Store
	why atomic.Pointer[error]
}

func (s *fullDisk) Update(f func(names.Tx) error) error {
	if why := s.why.Load(); why != nil {
		return &fs.PathError{Op: "write", Path: "/state/names.db", Err: *why}
	}
	return s.Store.Update(f)
}

// Where the record cannot be written, no new name is given out, and the log says what to
// do. Whoever has a name keeps it, and comes back for it. With room again claims are
// decided as before.
func TestFullDiskTakesNoNameAway(t *testing.T) {
	for why, advice := range map[error]string{syscall.ENOSPC: "make room on the file system", syscall.EROFS: "read-only"} {
		store := new(fullDisk)
		r := newServer(t, func(s *relay.Server) { store.Store, s.Names.Grants = s.Names.Grants, store })
		r.listen()
		id := newIdentity(t)
		d := r.device(id, "a.relay.test")
		d.echo("a")
		store.why.Store(&why)
		denied(t, r.claim(newIdentity(t), "b.relay.test", ""), framing.DeniedUnavailable)
		r.waitForLog("cannot decide about a claim")
		r.waitForLog(advice)
		r.gone(d)
		r.device(id, "a.relay.test").echo("a")
		r.reaches("a.relay.test", "a")
		store.why.Store(nil)
		if err := r.claim(newIdentity(t), "b.relay.test", ""); err != nil {
			t.Errorf("%v, then room: %v", why, err)
		}
		r.close()
	}
}

// A visitor waits for a device whose label was here lately, and for any such
// label right after the start: nothing of them is kept across a restart.
func TestVisitorsWaitForKeyLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, policy(names.Closed))
		id, other := newIdentity(t), newIdentity(t)
		r.refused(other.label(), internalError) // the relay has just started
		time.Sleep(time.Minute)
		r.refused(other.label(), unrecognizedName)
		r.device(id, id.label()).Close()
		synctest.Wait()
		r.refused(id.label(), internalError)
		r.refused("x."+id.label(), unrecognizedName)
		time.Sleep(11 * time.Hour)
		r.refused(id.label(), internalError)
		time.Sleep(25 * time.Hour)
		r.refused(id.label(), unrecognizedName)
		r.close()
	})
}

// The newer run of an identity has the name at once; the older one is told.
func TestNewerRunReplaces(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	old := r.device(id.at(5, 1), "a.relay.test", "b.relay.test").echo("old")
	newer := r.device(id.at(6, 2), "a.relay.test").echo("newer")
	old.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	r.reaches("a.relay.test", "newer")
	r.reaches("b.relay.test", "old") // each name by itself
	newer.keeps(t)

	// With equal numbers the later arrival has it: a state directory was copied.
	equal := r.device(id.at(6, 3), "a.relay.test").echo("equal")
	newer.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	r.reaches("a.relay.test", "equal")

	// An older run is denied for good, and the name stays where it is.
	err := old.Claim(t.Context(), framing.Claim{Name: "a.relay.test"})
	denied(t, err, framing.DeniedReplaced)
	var d *framing.Denial
	if errors.As(err, &d) && !d.Permanent() {
		t.Error("the older run may come back")
	}
	r.reaches("a.relay.test", "equal")
	equal.keeps(t)
}

// The visitors of a run that was replaced are not cut by the relay.
func TestReplacedRunServesItsVisitors(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	old := r.device(id.at(1, 1), "a.relay.test")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	s, err := old.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r.device(id.at(2, 2), "a.relay.test")
	old.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	s.Write([]byte("still here"))
	b := make([]byte, 10)
	if _, err := io.ReadFull(c, b); string(b) != "still here" {
		t.Errorf("the visitor got %q, %v", b, err)
	}
}

// Links of one run stand side by side: visitors go to the one with fewer, and
// the name stays until the last has gone.
func TestLinksOfOneRun(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	one, two := r.device(id, "a.relay.test"), r.device(id, "a.relay.test")
	accepted := make(chan *device, 8)
	for _, d := range []*device{one, two} {
		go func() {
			for {
				s, err := d.Accept()
				if err != nil {
					return
				}
				s.Write([]byte("x"))
				accepted <- d
			}
		}()
	}
	served := make(map[*device]int)
	for range 6 {
		r.dial().Write(helloFor(t, "a.relay.test"))
		served[<-accepted]++
	}
	if served[one] != 3 || served[two] != 3 {
		t.Errorf("%d and %d visitors", served[one], served[two])
	}
	one.keeps(t)
	two.keeps(t)
	one.Close()
	two.GoAway(t.Context(), framing.GoAway{}) // and is no more in the relay's list
	three := r.device(id, "a.relay.test").echo("three")
	r.reaches("a.relay.test", "three")
	three.keeps(t)
	two.keeps(t) // it drains, and is not cut as replaced
}
