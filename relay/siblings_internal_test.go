package relay

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/internal/memconn"
	"keystay/relay/names"
)

// A sibling that cannot be reached is left alone for longer each time, up to a minute;
// when that is over one visitor finds out for all. An answer ends it.
func TestSiblingIsAskedLessOftenWhileItIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sibling)
		for _, pause := range []time.Duration{5, 10, 20, 40, 60, 60} {
			if at := s.mayAsk("a", false); !at.IsZero() {
				t.Fatalf("it may not be asked before %v", at)
			}
			s.ask("a", false)
			if first := s.isDown(); first && s.mayAsk("b", false).IsZero() {
				t.Error("a second visitor may ask while the first finds out")
			}
			s.answered("a", siblingFails)
			if got := time.Until(s.mayAsk("b", false)); got != pause*time.Second {
				t.Errorf("it is left alone for %v, want %d s", got, pause)
			}
			time.Sleep(pause * time.Second)
		}
		s.ask("a", false)
		s.answered("a", siblingHasNot)
		if s.isDown() || !s.mayAsk("b", false).IsZero() {
			t.Error("it is down although it answers")
		}
	})
}

// A sibling that does not have a name is not asked for it again for a second, nor by more
// than some visitors of it at once; other names do not suffer.
func TestSiblingIsAskedOnceASecondForANameThatItDoesNotHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sibling)
		n := 0
		for ; s.mayAsk("a", false).IsZero(); n++ {
			s.ask("a", false)
		}
		if n != maxAskedOfName {
			t.Errorf("%d visitors ask at once", n)
		}
		for range n {
			s.answered("a", siblingHasNot)
		}
		if got := time.Until(s.mayAsk("a", false)); got != siblingMissed || !s.mayAsk("b", false).IsZero() {
			t.Errorf("it may be asked again in %v", got)
		}
		time.Sleep(siblingMissed)
		s.ask("a", false)
		s.answered("a", siblingTook)
		for range 10 * maxAskedOfName {
			if !s.mayAsk("a", false).IsZero() {
				t.Fatal("it has the name, and may not be asked")
			}
			s.ask("a", false)
		}
		for i := range 2 * maxAskedNames {
			if name := fmt.Sprint(i); s.mayAsk(name, false).IsZero() {
				s.ask(name, false)
				s.answered(name, siblingHasNot)
			}
		}
		if len(s.asked) > maxAskedNames {
			t.Errorf("%d names are remembered", len(s.asked))
		}
		time.Sleep(siblingMissed)
		if !s.mayAsk("c", false).IsZero() {
			t.Error("names that are forgotten leave no room")
		}
	})
}

// Names that are made from keys, of which anybody has as many as he likes, leave room to ask
// for others, and have theirs again once they are forgotten.
func TestAskingForNamesOfKeysLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sibling)
		all := func(made bool) (n int) {
			for i := range 2 * maxAskedNames {
				if name := fmt.Sprint(made, i); s.mayAsk(name, made).IsZero() {
					s.ask(name, made)
					s.answered(name, siblingHasNot)
					n++
				}
			}
			return n
		}
		for range 2 {
			if made, others := all(true), all(false); made != maxAskedNames/2 || others != maxAskedNames/2 {
				t.Errorf("%d names of keys, then %d others", made, others)
			}
			time.Sleep(siblingMissed)
		}
	})
}

// Settings that say the same anew leave a sibling as it is, also for visitors who look at
// it at that moment.
func TestSiblingThatStaysIsNotWrittenTo(t *testing.T) {
	s := new(Server)
	list := []Sibling{{Name: "b.test", Dial: "b.test:443", From: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}}
	s.SetSiblings(list)
	was := s.siblings.now()[0]
	read := make(chan string)
	go func() { read <- was.Name + was.Dial }()
	s.SetSiblings(list)
	if <-read == "" || s.siblings.now()[0] != was {
		t.Error("it is another one")
	}
}

// There is room for so many visitors between two siblings. An identity has half of it at
// most, by however many names; each further one leaves some, and names that are made from
// keys leave half to the others. Each place that is given back can be had again.
func TestPlacesBetweenSiblings(t *testing.T) {
	var p places
	holder := func(i int) ed25519.PublicKey { return fmt.Appendf(nil, "%032d", i) }
	all := func(holder ed25519.PublicKey, made bool) (n int) {
		for p.enter(holder, made) {
			n++
		}
		return n
	}
	if n := all(holder(0), false); n != maxWithSibling/2 {
		t.Errorf("one identity has %d places", n)
	}
	for i := 1; i < 50; i++ {
		if n := all(holder(i), false); n == 0 {
			t.Errorf("%d identities that take all that they can leave nothing", i)
		}
	}
	for i := range maxWithSibling {
		p.enter(holder(100+i), false)
	}
	if p.now != maxWithSibling || p.enter(holder(9999), false) {
		t.Errorf("there are %d visitors, or more", p.now)
	}
	p.leave(holder(0), false)
	if !p.enter(holder(9999), false) {
		t.Error("a place that was given back is lost")
	}

	p = places{}
	for i := range maxWithSibling {
		p.enter(holder(i), true)
	}
	if p.now != maxOfMadeNames || !p.enter(holder(0), false) {
		t.Errorf("%d visitors of names that are made from keys leave nothing", p.now)
	}
	p.leave(holder(0), false)
	for i := range maxOfMadeNames {
		p.leave(holder(i), true)
	}
	if p.now != 0 || p.made != 0 || len(p.holders) != 0 {
		t.Errorf("%d visitors, %d of made names, %d identities are left", p.now, p.made, len(p.holders))
	}
}

// The words of a name are kept with those of names that cost as much.
func TestNamesHaveKinds(t *testing.T) {
	key := make(ed25519.PublicKey, ed25519.PublicKeySize)
	r := routerOf(t, key, nil)
	label := keyname.Label(key, "")
	for name, want := range map[string]nameKind{
		label + ".relay.test": madeName, keyname.Label(key, "word") + ".relay.test": madeName,
		"a.relay.test": givenName, "a." + label + ".relay.test": givenName, "example.org": ownDomain,
	} {
		if got := r.kindOf(name); got != want {
			t.Errorf("%s is of kind %d, want %d", name, got, want)
		}
	}
}

// A sibling that ends a connection without an answer may have had no room for it. It is
// not asked again at once for that name, and is asked for others.
func TestSiblingThatBreaksOffIsNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sibling)
		s.ask("a", false)
		s.answered("a", siblingBreaks)
		if s.isDown() || !s.mayAsk("b", false).IsZero() {
			t.Error("it is taken for one that is down, for all names")
		}
		if got := time.Until(s.mayAsk("a", false)); got != siblingMissed {
			t.Errorf("it may be asked again in %v", got)
		}
	})
}

// A sibling of the internet is not believed that a visitor comes from an address that
// nobody of the internet has: a device may take it for one that is near.
func TestSiblingSaysNoPrivateAddress(t *testing.T) {
	for _, c := range []struct {
		from, visitor string
		want          bool
	}{
		{"9.9.9.9", "8.8.8.8", true},
		{"9.9.9.9", "10.0.0.1", false},
		{"9.9.9.9", "127.0.0.1", false},
		{"9.9.9.9", "fd00::1", false},
		{"2620:fe::fe", "::1", false},
		{"10.0.0.2", "10.0.0.1", true},
	} {
		if got := mayComeFrom(netip.MustParseAddr(c.visitor), netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("%s from %s: %v", c.visitor, c.from, got)
		}
	}
}

// silenced is a connection whose writes are swallowed once it is told to be quiet.
type silenced struct {
	*memconn.Conn
	quiet atomic.Bool
}

func (s *silenced) Write(p []byte) (int, error) {
	if s.quiet.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// silentLink is the relay's end of a link of a remote, which says nothing more once quiet
// is set.
func silentLink(t *testing.T, key ed25519.PublicKey) (link *framing.Link, end *silenced) {
	a, b := memconn.Pipe(0)
	end = &silenced{Conn: b}
	var remote *framing.Link
	up := make(chan struct{})
	go func() {
		defer close(up)
		remote, _, _ = framing.Client(t.Context(), end, framing.Hello{Key: key, Signature: make([]byte, ed25519.SignatureSize)}, framing.Handler{})
	}()
	link, _, err := framing.Server(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Welcome(framing.Welcome{}, framing.Handler{}); err != nil {
		t.Fatal(err)
	}
	<-up
	t.Cleanup(func() {
		link.Close()
		remote.Close()
	})
	return link, end
}

// routerOf is a router of relay.test with siblings that the device of a.relay.test has
// named, and with its sessions.
func routerOf(t *testing.T, key ed25519.PublicKey, sibs []*sibling, sessions ...*session) *router {
	grants, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { grants.Close() })
	all, p := new(siblings), &presence{names: make(map[string]*served)}
	all.list.Store(&sibs)
	all.note(key, framing.Claim{Name: "a.relay.test", Siblings: all.names()}, givenName)
	if len(sessions) > 0 {
		p.names["a.relay.test"] = &served{key: key, sessions: sessions}
	}
	r := &router{domain: "relay.test", names: &names.Names{Grants: grants}, front: new(fronts), siblings: all, presence: p,
		ctx: t.Context(), departure: new(atomic.Pointer[departure]), held: newMeasures().hold}
	r.names.Begin(r.domain)
	return r
}

// A visitor of a device whose link may be dead is passed on to a sibling. Where that does
// not have the device it gets the link all the same.
func TestVisitorOfALinkThatMayBeDeadIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		link, end := silentLink(t, key)
		sib := &sibling{Sibling: Sibling{Name: "b.test"}}
		r := routerOf(t, key, []*sibling{sib}, &session{key: key, link: link})
		leads := func(to destination) {
			t.Helper()
			if l := r.now(name, false, asked{}); l.to != to {
				t.Errorf("after %v of silence the visitor goes to %d, want %d", link.Quiet(), l.to, to)
			}
		}
		time.Sleep(time.Minute)
		for link.Quiet() > time.Second {
			time.Sleep(time.Second / 2)
		}
		leads(toSession)
		end.quiet.Store(true)
		time.Sleep(framing.PingInterval / 2)
		leads(toSession)
		time.Sleep(suspectAfter - framing.PingInterval/2 + time.Second)
		leads(toSibling)
		sib.ask(name, false)
		sib.answered(name, siblingHasNot)
		leads(toSession)
		time.Sleep(siblingMissed)
		leads(toSibling)
	})
}

// A CA's validation goes to the run whose turn it is. Where the link of that may be dead
// a sibling is asked, although another run of the device is here: else the relay would
// look for the way again and again.
func TestValidationOfARunThatMayBeDeadIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		dead, end := silentLink(t, key)
		alive, _ := silentLink(t, key)
		one, other := &session{key: key, link: dead, run: framing.Run{Number: 1}}, &session{key: key, link: alive, run: framing.Run{Number: 2}}
		sib := &sibling{Sibling: Sibling{Name: "b.test", Dial: "127.0.0.1:0"}}
		r := routerOf(t, key, []*sibling{sib}, one, other)
		end.quiet.Store(true)
		time.Sleep(suspectAfter + framing.PingInterval/2)
		r.presence.order(one, "a.relay.test", true)
		for _, validation := range []bool{false, true} {
			l := r.now("a.relay.test", validation, asked{})
			if here := r.presence.isHere("a.relay.test", validation); here == (l.to == toSibling) {
				t.Errorf("validation %v: the remote is here: %v, and the visitor goes to %d", validation, here, l.to)
			}
		}
	})
}

// Siblings that take their time to say no do not keep a visitor for longer than one waits
// for a device.
func TestSlowSiblingsKeepNoVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		var sibs []*sibling
		for i := range 3 {
			sibs = append(sibs, &sibling{Sibling: Sibling{Name: fmt.Sprintf("%d.test", i)}})
		}
		r := routerOf(t, key, sibs)
		name := keyname.Label(key, "") + ".relay.test"
		r.siblings.note(key, framing.Claim{Name: name, Siblings: r.siblings.names()}, madeName)
		r.names.Remember([]string{name})
		c, far := memconn.Pipe(0)
		defer far.Close()
		v := &visitor{conn: c, place: newShares(0, nil).unfinished.begin(c, helloBuffer), name: name}
		began := time.Now()
		l := r.find(v)
		if l.to != toSibling {
			t.Fatalf("the visitor goes to %d at once", l.to)
		}
		for l.to == toSibling && time.Since(began) < time.Hour {
			l.sibling.ask(v.name, false)
			time.Sleep(2 * siblingMissed)
			l.sibling.answered(v.name, siblingHasNot)
			l = r.find(v)
		}
		if took := time.Since(began); l.to != nowhere || took > HoldTimeout+2*siblingMissed {
			t.Errorf("after %v the visitor goes to %d", took, l.to)
		}
	})
}

// What a sibling is told of a visitor has both of his addresses, also where a proxy says
// of one that it is an IPv4 address, and of the other that it is none.
func TestSiblingIsToldAddressesOfTwoFamilies(t *testing.T) {
	four, six := &net.TCPAddr{IP: net.ParseIP("8.8.8.8"), Port: 1}, &net.TCPAddr{IP: net.ParseIP("2620:fe::fe"), Port: 2}
	for _, of := range [][2]net.Addr{{four, four}, {four, six}, {six, four}, {six, six}} {
		b, err := siblingHeader(of[0], of[1], "a.relay.test", "relay.test", framing.KindTLS)
		if err != nil {
			t.Errorf("from %v to %v: %v", of[0], of[1], err)
			continue
		}
		p, err := parseProxied(b)
		if err != nil || addrPort(p.RemoteAddr()) != addrPort(of[0]) || addrPort(p.LocalAddr()) != addrPort(of[1]) || p.mark == nil {
			t.Errorf("from %v to %v: %+v, %v", of[0], of[1], p, err)
		}
	}
}
