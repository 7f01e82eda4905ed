package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/relay"
)

// places are other nodes, for tests, which are taken to have names, and answer visitors
// by a function of the test's.
type places struct {
	others
	answer func(ctx context.Context, node string, h relay.Hop) (duplex.Conn, error)

	mu    sync.Mutex
	at    map[string][]relay.Place
	turn  map[string]relay.Place
	asked []string
}

func (p *places) Find(name string, _ bool, except []string) (relay.Place, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.at[name] {
		if !slices.Contains(except, at.Node) {
			return at, true
		}
	}
	return relay.Place{}, false
}

func (p *places) Turn(name string) (relay.Place, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.turn[name]
	return at, ok
}

func (p *places) Miss(at relay.Place, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[name] = slices.DeleteFunc(p.at[name], func(o relay.Place) bool { return o == at })
}

func (p *places) Hop(ctx context.Context, node string, h relay.Hop) (duplex.Conn, relay.Host, error) {
	p.mu.Lock()
	p.asked = append(p.asked, node)
	p.mu.Unlock()
	c, err := p.answer(ctx, node, h)
	return c, relay.Host{}, err
}

// say makes nodes have a name.
func (p *places) say(name string, nodes ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = make(map[string][]relay.Place)
	}
	for _, node := range nodes {
		p.at[name] = append(p.at[name], relay.Place{Node: node, Said: 1})
	}
}

// were checks which nodes were asked.
func (p *places) were(t *testing.T, nodes ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.asked, nodes) {
		t.Errorf("asked were %q, want %q", p.asked, nodes)
	}
}

// takes is an answer of a node that takes the visitor and echoes after its name.
func takes(t *testing.T, node string) (duplex.Conn, error) {
	near, far := memconn.Pipe(0)
	t.Cleanup(func() { near.Close(); far.Close() })
	go func() {
		far.Write([]byte(node + ":"))
		io.Copy(far, far)
		far.Close()
	}()
	return near, nil
}

var errUnreachable = errors.New("cannot be reached")

// A no, or a node that cannot be reached, makes the relay ask one node more, and never
// a third; then the visitor waits for the device like any other.
func TestOneMoreNodeIsAskedAndNoThird(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]error // of those that do not take it
		asked   []string
		want    string
	}{
		"yes":                        {nil, []string{"b"}, "b:"},
		"no, yes":                    {map[string]error{"b": relay.ErrNotThere}, []string{"b", "c"}, "c:"},
		"unreachable, yes":           {map[string]error{"b": errUnreachable}, []string{"b", "c"}, "c:"},
		"no, no":                     {map[string]error{"b": relay.ErrNotThere, "c": relay.ErrNotThere}, []string{"b", "c"}, internalError},
		"unreachable, unreachable":   {map[string]error{"b": errUnreachable, "c": errUnreachable}, []string{"b", "c"}, internalError},
		"no, unreachable":            {map[string]error{"b": relay.ErrNotThere, "c": errUnreachable}, []string{"b", "c"}, internalError},
		"refused":                    {map[string]error{"b": &relay.HopRefused{Alert: 49, Why: "rule"}}, []string{"b"}, accessDenied},
		"no, refused":                {map[string]error{"b": relay.ErrNotThere, "c": &relay.HopRefused{Alert: 80, Why: "limit"}}, []string{"b", "c"}, internalError},
		"refused in words not known": {map[string]error{"b": &relay.HopRefused{Alert: 80, Why: "moonlight"}}, []string{"b"}, internalError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &places{}
				p.answer = func(_ context.Context, node string, h relay.Hop) (duplex.Conn, error) {
					if err := c.answers[node]; err != nil {
						return nil, err
					}
					return takes(t, node)
				}
				r := memRig(t, func(s *relay.Server) { s.Nodes = p })
				name := newIdentity(t).label()
				p.say(name, "b", "c", "d")
				if got, err := r.visit(name, ""); err != nil || got != c.want {
					t.Errorf("got %q, %v; want %q", got, err, c.want)
				}
				p.were(t, c.asked...)
				r.close()
			})
		})
	}
}

// A CA's HTTP-01 request that a node refuses is asked no node again, as a visitor is not:
// the relay would ask for ever.
func TestRefusedChallengeIsAskedOnce(t *testing.T) {
	refused := &relay.HopRefused{Alert: 80, Why: "not_taken"}
	for name, c := range map[string]struct {
		answers []error
		asked   []string
	}{
		"refused":     {[]error{refused}, []string{"b"}},
		"no, refused": {[]error{relay.ErrNotThere, refused}, []string{"b", "c"}},
		"no, no":      {[]error{relay.ErrNotThere, relay.ErrNotThere}, []string{"b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &places{}
			p.answer = func(context.Context, string, relay.Hop) (duplex.Conn, error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				if n := len(p.asked); n <= len(c.answers) {
					return nil, c.answers[n-1]
				}
				return nil, errUnreachable // so that it ends
			}
			r := newRig(t, func(s *relay.Server) { s.Nodes = p })
			get, _ := r.plain()
			p.say("a.relay.test", "b", "c", "d")
			if resp, _ := get("a.relay.test", "/.well-known/acme-challenge/x"); resp.StatusCode != http.StatusBadGateway {
				t.Errorf("%s", resp.Status)
			}
			p.were(t, c.asked...)
		})
	}
}

// What another node is told of a visitor is what the remote is to be told.
func TestHopHasTheVisitorsHeaderAndHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &places{}
		var got relay.Hop
		p.answer = func(_ context.Context, node string, h relay.Hop) (duplex.Conn, error) {
			got = h
			return takes(t, node)
		}
		r := memRig(t, func(s *relay.Server) { s.Nodes = p })
		p.say("a.relay.test", "b")
		c := r.dial()
		first := helloFor(t, "a.relay.test")
		c.Write(first)
		says(t, c, "b:")
		if got.Name != "a.relay.test" || got.Kind != framing.KindTLS || got.ID == [16]byte{} || got.Validation ||
			got.Source.String() != c.LocalAddr().String() || got.Dest.String() != c.RemoteAddr().String() || string(got.First) != string(first) {
			t.Errorf("%+v", got)
		}
		c.Close()
		r.close()
	})
}

// A visitor who waits for its device is brought to another node as soon as that has it:
// also where the one that was asked first has said no.
func TestVisitorWhoWaitsHopsWhenTheNameComesUpElsewhere(t *testing.T) {
	for name, no := range map[string]bool{"away": false, "after a no": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &places{}
				p.answer = func(_ context.Context, node string, h relay.Hop) (duplex.Conn, error) {
					if node == "stale" {
						return nil, relay.ErrNotThere
					}
					return takes(t, node)
				}
				r := memRig(t, func(s *relay.Server) { s.Nodes = p })
				id := newIdentity(t)
				if no {
					p.say(id.label(), "stale") // the name was there
				} else {
					r.device(id, id.label()).Close()
				}
				time.Sleep(time.Hour) // the relay has been up for long
				synctest.Wait()
				c := r.dial()
				c.Write(helloFor(t, id.label()))
				time.Sleep(3 * time.Second)
				if n, _ := r.srv.Holds(); n != 1 {
					t.Fatalf("%d visitors wait", n)
				}
				start := time.Now()
				p.say(id.label(), "b")
				r.srv.ClaimedOnNode(claimed(id, id.label(), false))
				says(t, c, "b:")
				if took := time.Since(start); took > 0 {
					t.Errorf("it has waited for %v more", took)
				}
				c.Close()
				r.close()
			})
		})
	}
}

// A visitor who leaves while another node is asked is noticed within watchInterval, and
// no other node is asked for it.
func TestVisitorLeavesWhileItHops(t *testing.T) {
	for how, leave := range leaves {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &places{}
				p.answer = func(ctx context.Context, _ string, _ relay.Hop) (duplex.Conn, error) {
					<-ctx.Done()
					return nil, context.Cause(ctx)
				}
				r := memRig(t, func(s *relay.Server) { s.Nodes = p })
				p.say("a.relay.test", "b", "c")
				c := r.dial()
				c.Write(helloFor(t, "a.relay.test"))
				time.Sleep(2*time.Second + relay.WatchInterval/2)
				leave(c)
				time.Sleep(relay.WatchInterval)
				c.Close()
				time.Sleep(time.Second) // Refuse
				p.were(t, "b")
				r.nothingLeft(nil)
				r.close()
			})
		})
	}
}

// A node that does not answer is given hopTimeout, and then the next one is asked.
func TestNodeThatDoesNotAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &places{}
		p.answer = func(ctx context.Context, node string, _ relay.Hop) (duplex.Conn, error) {
			if node == "c" {
				return takes(t, node)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		r := memRig(t, func(s *relay.Server) { s.Nodes = p })
		p.say("a.relay.test", "b", "c")
		start := time.Now()
		if got, err := r.visit("a.relay.test", ""); got != "c:" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if took := time.Since(start); took != relay.HopTimeout {
			t.Errorf("after %v", took)
		}
		p.were(t, "b", "c")
		r.close()
	})
}

// validationFor is the hello of a CA's validation of a name (RFC 8737).
func validationFor(t *testing.T, name string) []byte {
	t.Helper()
	c := &captured{}
	tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}).Handshake()
	return c.first
}

// A CA's validation goes to the node where it is the turn of a replica, whatever is
// connected here; a visitor stays here.
func TestValidationHopsToTheNodeWhoseTurnItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &places{turn: map[string]relay.Place{"a.relay.test": {Node: "b"}}}
		p.answer = func(_ context.Context, node string, h relay.Hop) (duplex.Conn, error) {
			if !h.Validation {
				t.Error("a visitor hops")
			}
			return takes(t, node)
		}
		r := memRig(t, func(s *relay.Server) { s.Nodes = p })
		r.device(newIdentity(t), "a.relay.test").echo("here")
		r.reaches("a.relay.test", "here")
		c := r.dial()
		c.Write(validationFor(t, "a.relay.test"))
		says(t, c, "b:")
		c.Close()
		p.were(t, "b")
		r.close()
	})
}

// A server that is closed ends what hops: before another node has answered, and after.
func TestCloseEndsVisitorsWhoHop(t *testing.T) {
	for name, answered := range map[string]bool{"asked": false, "served": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &places{}
				p.answer = func(ctx context.Context, node string, _ relay.Hop) (duplex.Conn, error) {
					if answered {
						return takes(t, node)
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				r := memRig(t, func(s *relay.Server) { s.Nodes = p })
				p.say("a.relay.test", "b")
				c := r.dial()
				c.Write(helloFor(t, "a.relay.test"))
				synctest.Wait()
				start := time.Now()
				r.close()
				if took := time.Since(start); took > time.Second {
					t.Errorf("Close took %v", took)
				}
				broken(t, c)
			})
		})
	}
}

// A server that leaves waits for the visitors of its own that another node serves.
func TestShutdownWaitsForVisitorsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &places{answer: func(_ context.Context, node string, _ relay.Hop) (duplex.Conn, error) { return takes(t, node) }}
		r := memRig(t, func(s *relay.Server) { s.Nodes = p })
		p.say("a.relay.test", "b")
		c := r.dial()
		c.Write(helloFor(t, "a.relay.test"))
		says(t, c, "b:")
		left := make(chan error)
		go func() { left <- r.srv.Shutdown(t.Context()) }()
		time.Sleep(time.Hour)
		select {
		case err := <-left:
			t.Fatalf("Shutdown did not wait: %v", err)
		default:
		}
		goesOn(t, c)
		if err := <-left; err != nil {
			t.Error(err)
		}
		r.close()
	})
}

// An old process gives a visitor to the new one whom another node has not taken yet, and
// goes on with those that one has.
func TestHandOverPassesVisitorsOnWhoHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &places{}
		asked := make(chan struct{})
		p.answer = func(ctx context.Context, node string, h relay.Hop) (duplex.Conn, error) {
			if node == "b" {
				return takes(t, node)
			}
			close(asked)
			time.Sleep(time.Second) // the connections with other nodes end meanwhile
			return nil, errUnreachable
		}
		r := memRig(t, func(s *relay.Server) { s.Nodes = p })
		p.say("a.relay.test", "b")
		name := newIdentity(t).label()
		p.say(name, "c")
		served := r.dial()
		served.Write(helloFor(t, "a.relay.test"))
		says(t, served, "b:")
		hopping := r.dial()
		hello := helloFor(t, name)
		hopping.Write(hello)
		<-asked
		passed := make(chan string, 1)
		left := make(chan error)
		go func() {
			left <- r.srv.HandOver(t.Context(), func(_ net.Conn, first []byte) error {
				passed <- string(first)
				return nil
			})
		}()
		if first := <-passed; first != string(hello) {
			t.Errorf("passed on is %.40q", first)
		}
		goesOn(t, served)
		if err := <-left; err != nil {
			t.Error(err)
		}
		r.close()
	})
}
