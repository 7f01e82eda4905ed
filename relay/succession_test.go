//go:build unix

package relay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/relay"
	"keystay/relay/names"
)

// A succession is one public address and the relays that serve it one after
// the other, all in this process.
type succession struct {
	t    *testing.T
	ca   *testca.CA
	dir  string
	ln   *net.TCPListener // never served itself
	key  ed25519.PrivateKey
	wg   sync.WaitGroup
	done chan struct{}
}

const (
	ownName  = "relay.test"
	heldName = "xyz.relay.test"
)

func newSuccession(t *testing.T) *succession {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t, testnet.Lingering()) })
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &succession{t: t, ca: testca.New(t), dir: t.TempDir(), ln: ln, key: key, done: make(chan struct{})}
	t.Cleanup(func() { close(p.done); ln.Close(); p.wg.Wait() })
	return p
}

// relay returns a relay that is not serving yet, with a descriptor of its own
// for the public socket.
func (p *succession) relay() (*relay.Server, *names.Grants, net.Listener) {
	p.t.Helper()
	f, err := p.ln.File()
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		p.t.Fatal(err)
	}
	grants, err := names.OpenGrants(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	srv := &relay.Server{Domain: ownName, Names: &names.Names{Grants: grants},
		TLS: &tls.Config{Certificates: []tls.Certificate{p.ca.Issue(ownName)}, NextProtos: []string{"http/1.1"}}}
	p.t.Cleanup(func() { srv.Close(); ln.Close(); grants.Close() })
	return srv, grants, ln
}

func (p *succession) serve(srv *relay.Server, ln net.Listener) {
	p.wg.Go(func() { srv.Serve(ln) })
}

// remote keeps a link up, as a remote does, that sends back what visitors say
// after their hello. It redials as soon as the relay goes away. The channel has
// each link that has claimed its name.
func (p *succession) remote() <-chan *framing.Link {
	links := make(chan *framing.Link, 8)
	p.wg.Go(func() {
		for {
			away := make(chan struct{}, 1)
			link, err := p.link(func(g framing.GoAway) { away <- struct{}{} })
			if err != nil {
				select {
				case <-p.done:
					return
				default:
					continue
				}
			}
			p.wg.Go(func() { answer(link) })
			if _, err := link.Claim(context.Background(), framing.Claim{Name: heldName}); err != nil {
				link.Close()
				continue
			}
			links <- link
			select {
			case <-p.done:
				link.Close()
				return
			case <-away: // the old link lives on
			case <-link.Done():
			}
		}
	})
	return links
}

func (p *succession) link(away func(framing.GoAway)) (*framing.Link, error) {
	tc, err := tls.Dial("tcp", p.ln.Addr().String(), &tls.Config{ServerName: ownName, RootCAs: p.ca.Pool(), NextProtos: []string{framing.Protocol}})
	if err != nil {
		return nil, err
	}
	cs := tc.ConnectionState()
	h := framing.Hello{Run: framing.Run{Number: 1}}
	if err := h.Sign(p.key, &cs, ownName); err != nil {
		tc.Close()
		return nil, err
	}
	link, _, err := framing.Client(context.Background(), tc, h, framing.Handler{GoAway: away})
	return link, err
}

func answer(link *framing.Link) {
	serveStreams(link, func(s *framing.Stream) {
		b, err := io.ReadAll(s)
		if err != nil {
			return
		}
		s.Write(b)
		s.Close()
	})
}

// A visit is a visitor whose hello is sent in two parts.
type visit struct {
	t     *testing.T
	c     *net.TCPConn
	hello []byte
}

func (p *succession) visit(name string) *visit {
	p.t.Helper()
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	v := &visit{t: p.t, c: c.(*net.TCPConn), hello: clientHello(name)}
	v.send(0, 100)
	return v
}

func (v *visit) send(from, to int) {
	if _, err := v.c.Write(v.hello[from:to]); err != nil {
		v.t.Error(err)
	}
}

// served sends the rest and checks that all of it comes back.
func (v *visit) served() {
	v.t.Helper()
	v.send(100, len(v.hello))
	v.c.CloseWrite()
	if b, err := io.ReadAll(v.c); string(b) != string(v.hello) || err != nil {
		v.t.Errorf("%d of %d bytes came back, %v", len(b), len(v.hello), err)
	}
}

// refused checks that an alert comes: 80 internal_error, 112 unrecognized_name.
func (v *visit) refused(alert byte) {
	v.t.Helper()
	v.send(100, len(v.hello))
	if b, err := io.ReadAll(v.c); len(b) != 7 || b[6] != alert || err != nil {
		v.t.Errorf("got %x, %v; want alert %d", b, err, alert)
	}
}

type recorder struct {
	net.Conn
	first []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.first = append(r.first, p...)
	return len(p), nil
}
func (r *recorder) Read([]byte) (int, error) { return 0, io.EOF }

func clientHello(name string) []byte {
	r := &recorder{}
	tls.Client(r, &tls.Config{ServerName: name}).Handshake()
	return r.first
}
