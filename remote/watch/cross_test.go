package watch_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/keyname"
	"keystay/internal/probe"
	"keystay/internal/testca"
	"keystay/remote/watch"
)

const peerName = "abc.other.example"

// A peer is another remote, at peerName.
type peer struct {
	key     ed25519.PrivateKey
	answers *watch.Answers
	change  func([]byte) []byte // of an answer, on the way
}

// serve answers one question.
func (p *peer) serve(t *testing.T, d *device, conn net.Conn, cert tls.Certificate) {
	c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	defer c.Close()
	if c.Handshake() != nil {
		return
	}
	ln := &once{c: c, done: make(chan struct{})}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != probe.Path || r.Host != peerName {
			t.Errorf("%s %s%s", r.Method, r.Host, r.URL.Path)
		}
		answer, err := p.answers.Answer(r.Context(), peerName, question)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if p.change != nil {
			answer = p.change(answer)
		}
		_, _ = w.Write(answer)
	}), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			ln.Close()
		}
	}}
	_ = srv.Serve(ln)
}

// crossing returns the watch of d, whose own way leads to d, and which asks a peer that
// looks by there.
func crossing(t *testing.T, d *device, there watch.Way) (*watch.Watch, *peer) {
	own := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })
	_, key, _ := ed25519.GenerateKey(nil)
	p := &peer{key: key}
	p.answers = &watch.Answers{
		Watch:   &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{there}},
		Trusted: func(k ed25519.PublicKey) bool { return k.Equal(d.key.Public()) },
		Sign:    func(a probe.Answer) []byte { return probe.SignAnswer(p.key, a) },
	}
	foreign := testca.New(t).Issue(peerName) // nobody minds
	toPeer := d.to(func(c net.Conn) { p.serve(t, d, c, foreign) })
	return &watch.Watch{
		Resolvers: []watch.Resolver{{Name: "DNS", Lookup: func(_ context.Context, of string) ([]netip.Addr, error) {
			if of == peerName {
				return []netip.Addr{netip.MustParseAddr("192.0.2.9")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}}},
		Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "192.0.2.9:") {
				return toPeer.Dial(ctx, address)
			}
			return own.Dial(ctx, address)
		}}},
		Peers: []watch.Peer{{Name: peerName, Port: 443, Label: keyname.Label(key.Public().(ed25519.PublicKey), "")}},
		Sign:  func(q probe.Question) (doc, hash []byte) { return probe.SignQuestion(d.key, q) },
	}, p
}

// only is a dialling of these addresses alone.
func only(dial func(context.Context, string) (net.Conn, error), addresses ...string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		if !slices.Contains(addresses, address) {
			return nil, errors.New("refused")
		}
		return dial(ctx, address)
	}
}

// What another remote sees from its network counts as what this one sees; what it does
// not see, or says without its signature, is not fine.
func TestAPeerLooksFromItsNetwork(t *testing.T) {
	foreign := testca.New(t).Issue(name)
	for what, c := range map[string]struct {
		there  func(*device) watch.Way // of the peer
		change func(*watch.Watch, *peer)
		state  watch.State
		step   watch.Step
		why    string
	}{
		"the device": {state: watch.Own},
		"another key": {
			there: func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, foreign, false, d.key) }) },
			state: watch.Intercepted, why: "a key that is not this device's"},
		"a copy of the key": {
			there: func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, d.cert, false, d.key) }) },
			state: watch.Intercepted, why: "somebody else has a copy"},
		"no way": {
			there: func(*device) watch.Way { return fails(errors.New("no route")) },
			state: watch.NotRun, step: watch.AtPeer, why: "not seen from there: fails: no route"},
		"an end": {
			there: func(d *device) watch.Way { return d.to(func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)) }) },
			state: watch.NotRun, step: watch.AtPeer, why: "not seen from there: ends the connection"},
		"a peer that does not know the device": {
			change: func(_ *watch.Watch, p *peer) { p.answers.Trusted = func(ed25519.PublicKey) bool { return false } },
			state:  watch.NotRun, step: watch.AtPeer, why: "HTTP 403"},
		"a peer that somebody else answers for": {
			change: func(_ *watch.Watch, p *peer) { _, p.key, _ = ed25519.GenerateKey(nil) },
			state:  watch.NotRun, step: watch.AtPeer, why: "not to be believed"},
		"an answer from before": {
			change: func(_ *watch.Watch, p *peer) {
				p.change = func([]byte) []byte { return probe.SignAnswer(p.key, probe.Answer{Question: []byte("another")}) }
			},
			state: watch.NotRun, step: watch.AtPeer, why: "to another question"},
		"an answer without a sight": {
			change: func(_ *watch.Watch, p *peer) {
				p.answers.Watch.Resolvers[0].Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("gone") }
			},
			state: watch.NotRun, step: watch.AtPeer, why: "not found in DNS"},
		"a peer that is away": {
			change: func(w *watch.Watch, _ *peer) {
				own := w.Ways[0].Dial
				w.Ways[0].Dial = func(ctx context.Context, address string) (net.Conn, error) {
					if strings.HasPrefix(address, "192.0.2.9:") {
						return nil, errors.New("refused")
					}
					return own(ctx, address)
				}
			},
			state: watch.NotRun, step: watch.AtPeer, why: "not reached: refused"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDevice(t)
				there := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })
				if c.there != nil {
					there = c.there(d)
				}
				w, p := crossing(t, d, there)
				if c.change != nil {
					c.change(w, p)
				}
				round, alarms := first(t, w, d.name())
				if len(round.Results) != 2 || round.Results[0].State != watch.Own {
					t.Fatalf("%+v", round.Results)
				}
				got := round.Results[1]
				if got.State != c.state || got.Step != c.step || !strings.Contains(got.Why, c.why) || got.Way != peerName {
					t.Errorf("%s at %q through %s: %s", got.State, got.Step, got.Way, got.Why)
				}
				if (len(alarms) > 0) != (c.state == watch.Intercepted) {
					t.Errorf("alarms: %v", alarms)
				}
			})
		})
	}
}

// Nobody but a remote of the same owner makes a device look, and that one not twice with
// the same question and not faster than allowed.
func TestAQuestionIsAnsweredOnceAndToThoseWhoMayAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		looks := 0
		_, p := crossing(t, d, watch.Way{Dial: func(context.Context, string) (net.Conn, error) { looks++; return nil, errors.New("no way") }})
		_, stranger, _ := ed25519.GenerateKey(nil)
		n := byte(0)
		ask := func(key ed25519.PrivateKey, change func(*probe.Question)) (doc []byte, err error) {
			n++
			q := probe.Question{Name: name, Port: 443, To: peerName, Nonce: slices.Repeat([]byte{n}, probe.NonceSize), Time: time.Now()}
			if change != nil {
				change(&q)
			}
			doc, _ = probe.SignQuestion(key, q)
			_, err = p.answers.Answer(t.Context(), peerName, doc)
			return doc, err
		}
		for what, change := range map[string]func(*probe.Question){
			"of another name": func(q *probe.Question) { q.To = "xyz.other.example" },
			"long ago":        func(q *probe.Question) { q.Time = time.Now().Add(-time.Hour) },
			"about no name":   func(q *probe.Question) { q.Name = "192.0.2.1" },
			"about no port":   func(q *probe.Question) { q.Port = 0 },
			"without a nonce": func(q *probe.Question) { q.Nonce = nil },
		} {
			if _, err := ask(d.key, change); !errors.Is(err, watch.ErrQuestion) {
				t.Errorf("a question %s: %v", what, err)
			}
		}
		if _, err := ask(stranger, nil); !errors.Is(err, probe.ErrStranger) {
			t.Errorf("a stranger's: %v", err)
		}
		if looks != 0 {
			t.Errorf("it has looked %d times", looks)
		}
		doc, err := ask(d.key, nil)
		if err != nil || looks != 1 {
			t.Fatalf("%d looks: %v", looks, err)
		}
		if _, err := ask(d.key, nil); !errors.Is(err, watch.ErrAsked) {
			t.Errorf("at once again: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := p.answers.Answer(t.Context(), peerName, doc); !errors.Is(err, watch.ErrQuestion) {
			t.Errorf("the same question: %v", err)
		}
		if _, err := ask(d.key, nil); err != nil || looks != 2 {
			t.Errorf("a minute later: %d looks: %v", looks, err)
		}
	})
}
