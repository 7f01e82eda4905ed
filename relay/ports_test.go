package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// somePorts are public TCP ports for a test. On the network each stands for a free port
// of loopback, in a bubble for a listener in memory.
type somePorts struct {
	memory bool
	taken  map[uint16]error // that cannot be listened on

	mu   sync.Mutex
	open map[uint16]net.Listener // the last of each
}

func (p *somePorts) listen(port uint16) ([]net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.taken[port]; err != nil {
		return nil, err
	}
	var ln net.Listener = memconn.Listen(nil)
	if !p.memory {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	if p.open == nil {
		p.open = make(map[uint16]net.Listener)
	}
	p.open[port] = ln
	return []net.Listener{ln}, nil
}

// offer makes a server give out the ports 20000 to 20999.
func (p *somePorts) offer(s *relay.Server) {
	s.Names.Ports, s.ListenPort = names.Ports{First: 20000, Last: 20999}, p.listen
}

// dial connects to one of the ports, as a visitor.
func (p *somePorts) dial(t testing.TB, port uint16) (conn, error) {
	t.Helper()
	p.mu.Lock()
	ln := p.open[port]
	p.mu.Unlock()
	if ln == nil {
		return nil, syscall.ECONNREFUSED
	}
	var c net.Conn
	var err error
	if m, ok := ln.(*memconn.Listener); ok {
		c, err = m.Dial(context.Background())
	} else if c, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		c.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c.(conn), nil
}

// visitor is dial for a port that is there.
func (p *somePorts) visitor(t testing.TB, port uint16) conn {
	t.Helper()
	c, err := p.dial(t, port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const sshName = "tcp:22@relay.test"

// claimsPort claims a port, and returns which it is.
func (d *device) claimsPort(t testing.TB, name string) uint16 {
	t.Helper()
	got, err := d.Link.Claim(t.Context(), framing.Claim{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return got.Port
}

// says checks what comes first on a connection.
func says(t testing.TB, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); string(b[:n]) != want {
		t.Fatalf("got %q, %v; want %q", b[:n], err, want)
	}
}

// Another identity gets another port, and cannot claim the first by any name; without
// the capability nobody gets one.
func TestAPortIsItsIdentitysOwn(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	a := newIdentity(t)
	r.device(a).claimsPort(t, sshName)
	other := r.device(newIdentity(t))
	if port := other.claimsPort(t, sshName); port != 20122 {
		t.Errorf("another identity got %d", port)
	}
	if port := other.claimsPort(t, "tcp:20022@relay.test"); port != 20222 {
		t.Errorf("who asks for the very number got %d", port)
	}
	for _, name := range []string{"relay.test:20022", "tcp:22@other.test"} {
		denied(t, other.Claim(t.Context(), framing.Claim{Name: name}), framing.DeniedInvalid)
	}
	if port := r.device(a.at(2, 2)).claimsPort(t, sshName); port != 20022 {
		t.Errorf("the first one got %d in its next run", port)
	}
	none := newRig(t, nil)
	denied(t, none.device(newIdentity(t)).Claim(t.Context(), framing.Claim{Name: sshName}), framing.DeniedInvalid)
}

// The newest run has the port, and the other one is told by the name that it asked by.
func TestTheNewestRunHasThePort(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	id := newIdentity(t)
	old := r.device(id).echo("old")
	old.claimsPort(t, sshName)
	r.device(id.at(2, 2)).echo("new").claimsPort(t, sshName)
	old.expectLost(t, sshName, framing.DeniedReplaced)
	says(t, p.visitor(t, 20022), "new:")
}

// One process may ask for a number, and for the public port of another number: these are
// two ports.
func TestTwoNumbersAreTwoPorts(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	d := r.device(newIdentity(t)).serve(func(s *framing.Stream) { io.WriteString(s, s.Header().Name); s.Close() })
	first, second := d.claimsPort(t, sshName), d.claimsPort(t, "tcp:20022@relay.test")
	if first != 20022 || second == first {
		t.Fatalf("got %d and %d", first, second)
	}
	says(t, p.visitor(t, first), sshName)
	says(t, p.visitor(t, second), "tcp:20022@relay.test")
	if again := d.claimsPort(t, "tcp:20022@relay.test"); again != second {
		t.Errorf("got %d the second time", again)
	}
}

// The relay listens on a port only while it is given out, and its remote is there or was
// lately. Visitors wait meanwhile, and are reset where it does not come.
func TestThePortIsOpenWhileItsRemoteIsNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePorts{memory: true}
		r := memRig(t, p.offer)
		id := newIdentity(t)
		if len(r.srv.Ports()) != 0 {
			t.Fatal("it listens before anybody has a port")
		}
		d := r.device(id)
		d.claimsPort(t, sshName)
		d.Close()
		synctest.Wait()
		waits := p.visitor(t, 20022)
		time.Sleep(time.Second)
		r.device(id).echo("back").claimsPort(t, sshName)
		says(t, waits, "back:")
		waits.Close()

		time.Sleep(2 * relay.PortLinger) // it is there all the time
		says(t, p.visitor(t, 20022), "back:")
		last := r.device(id.at(2, 2))
		last.claimsPort(t, sshName)
		last.Close()
		synctest.Wait()
		late := p.visitor(t, 20022)
		if _, err := io.ReadAll(late); err == nil {
			t.Fatal("who has waited in vain got an end, and not a reset")
		}
		time.Sleep(2 * relay.PortLinger)
		if _, err := p.dial(t, 20022); err == nil || len(r.srv.Ports()) != 0 {
			t.Fatalf("it still listens: %v", err)
		}
		r.device(id.at(3, 3)).echo("again").claimsPort(t, sshName)
		says(t, p.visitor(t, 20022), "again:")
		r.close()
	})
}

// A port that is taken off the link has no remote, and the identity keeps it.
func TestAPortIsTakenOffALink(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	d := r.device(newIdentity(t))
	d.claimsPort(t, sshName)
	if err := d.Unclaim(t.Context(), sshName); err != nil {
		t.Fatal(err)
	}
	if list, _, err := r.srv.Remotes(relay.Which{Name: "relay.test:20022"}, "", 10); err != nil || len(list) != 0 {
		t.Errorf("it leads to %v, %v", list, err)
	}
	if g, err := r.srv.Names.Show("relay.test:20022"); err != nil || g.Status != names.Held {
		t.Errorf("it is %v, %v", g.Status, err)
	}
	if port := d.claimsPort(t, sshName); port != 20022 {
		t.Errorf("claimed again it is %d", port)
	}
}

// A port that is given back is closed at once, and so is one that the operator takes or
// bans; whoever had it is told, and visitors of it are cut.
func TestAPortIsLostAsANameIs(t *testing.T) {
	for how, lose := range map[string]func(*rig, *device) (framing.DenialCode, error){
		"released": func(r *rig, d *device) (framing.DenialCode, error) {
			return 0, d.Release(r.t.Context(), "relay.test:20022")
		},
		"taken": func(r *rig, _ *device) (framing.DenialCode, error) {
			_, err := r.srv.Names.Take("relay.test:20022", "", true)
			return framing.DeniedTaken, err
		},
		"banned": func(r *rig, _ *device) (framing.DenialCode, error) {
			b, err := r.srv.Names.Ban(names.Ban{Kind: names.BanName, Of: "relay.test:20022"})
			r.srv.Cut(relay.Cut{Name: b.Of, Why: names.Denied{Code: names.DeniedBanned, Text: b.Text()}})
			return framing.DeniedBanned, err
		},
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := somePorts{memory: true}
				r := memRig(t, p.offer)
				d := r.device(newIdentity(t)).echo("d")
				d.claimsPort(t, sshName)
				c := p.visitor(t, 20022)
				says(t, c, "d:")
				code, err := lose(r, d)
				if err != nil {
					t.Fatal(err)
				}
				if code != 0 {
					if _, err := io.ReadAll(c); err == nil {
						t.Fatal("the visitor got an end, and not a reset")
					}
					d.expectLost(t, sshName, code)
				}
				time.Sleep(2 * relay.PortLook)
				if _, err := p.dial(t, 20022); err == nil {
					t.Fatal("it still listens")
				}
				r.close()
			})
		})
	}
}

// A port that another program has is passed over for whoever has none yet. Whoever has it
// is asked to come again.
func TestAPortThatCannotBeListenedOn(t *testing.T) {
	p := somePorts{taken: map[uint16]error{20022: syscall.EADDRINUSE}}
	r := newRig(t, p.offer)
	id := newIdentity(t)
	if port := r.device(id).claimsPort(t, sshName); port != 20122 {
		t.Fatalf("got %d", port)
	}
	all := newRig(t, func(s *relay.Server) {
		s.Names.Ports = names.Ports{First: 20000, Last: 20999}
		s.ListenPort = func(uint16) ([]net.Listener, error) { return nil, syscall.EACCES }
	})
	denied(t, all.device(id).Claim(t.Context(), framing.Claim{Name: sshName}), framing.DeniedUnavailable)
}

// Where the policy asks for a token a link may guess it no more often for a port than for
// a name, and nothing is listened on meanwhile.
func TestAPortTakesATokenWhereNamesDo(t *testing.T) {
	var p somePorts
	r := newRig(t, func(s *relay.Server) {
		p.offer(s)
		s.Names.Policy, s.Names.Tokens = names.WithToken, []names.Token{{Secret: "the token", Names: []string{"x.relay.test"}}}
	})
	d := r.device(newIdentity(t))
	for i := range 20 {
		denied(t, d.Claim(t.Context(), framing.Claim{Name: sshName, Token: fmt.Sprint("guess ", i)}), framing.DeniedToken)
	}
	err := d.Claim(t.Context(), framing.Claim{Name: sshName, Token: "the token"})
	if denied(t, err, framing.DeniedToken); !strings.Contains(err.Error(), "too many tokens") {
		t.Errorf("after many guesses: %v", err)
	}
	if n := len(r.srv.Ports()); n != 0 {
		t.Errorf("%d ports are listened on", n)
	}
	other := r.device(newIdentity(t))
	if err := other.Claim(t.Context(), framing.Claim{Name: sshName, Token: "the token"}); err != nil {
		t.Error(err)
	}
}

// The limits of a name count for a port: one visitor more than may be is reset.
func TestLimitsCountForPorts(t *testing.T) {
	var p somePorts
	r := newRig(t, func(s *relay.Server) {
		p.offer(s)
		s.SetLimits(limits.Config{Exempt: everybody, Name: limits.Owner{Streams: 1}})
	})
	d := r.device(newIdentity(t)).echo("d")
	d.claimsPort(t, sshName)
	first := p.visitor(t, 20022)
	says(t, first, "d:")
	c, err := p.dial(t, 20022) // which may fail by the reset
	if err == nil {
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many got %v", err)
	}
	io.WriteString(first, "still here")
	says(t, first, "still here")
}

// The relay's document says which ports it gives out, and says nothing where it gives
// out none.
func TestThePortsAreInTheDocument(t *testing.T) {
	var p somePorts
	for want, set := range map[string]func(*relay.Server){"20000-20999": p.offer, "": nil} {
		r := newRig(t, set)
		var about struct {
			TCPPorts *string `json:"tcp_ports"`
		}
		_, body := r.get(zone, "/.well-known/keystay.json")
		if err := json.Unmarshal([]byte(body), &about); err != nil {
			t.Fatal(err)
		}
		_, page := r.get(zone, "/")
		if says := strings.Contains(page, "TCP ports 20000-20999 are another matter") && strings.Contains(page, "TCP ports for one device"); says != (want != "") {
			t.Errorf("the page of a relay with the ports %q:\n%s", want, page)
		}
		if got := about.TCPPorts; (got == nil) != (want == "") || got != nil && *got != want {
			t.Errorf("got %v, want %q", got, want)
		}
	}
}
