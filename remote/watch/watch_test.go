package watch_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/memconn"
	"keystay/internal/probe"
	"keystay/internal/proxydial"
	"keystay/internal/statement"
	"keystay/internal/testca"
	"keystay/remote/watch"
)

const name = "xyz.relay.example"

// A device is one that serves name, with what it knows of the connections that end at it.
type device struct {
	t      *testing.T
	cert   tls.Certificate
	key    ed25519.PrivateKey
	unsure bool // a handshake has failed meanwhile

	mu   sync.Mutex
	seen map[probe.Exporter]bool
	wg   sync.WaitGroup
}

func newDevice(t *testing.T) *device {
	d := &device{t: t, cert: testca.New(t).Issue(name), seen: make(map[probe.Exporter]bool)}
	_, d.key, _ = ed25519.GenerateKey(nil)
	t.Cleanup(d.wg.Wait)
	return d
}

func keyOf(t *testing.T, cert tls.Certificate) [sha256.Size]byte {
	t.Helper()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return statement.KeyOf(leaf)
}

// Await implements watch.Ends.
func (d *device) Await(ctx context.Context, x probe.Exporter) probe.End {
	for {
		d.mu.Lock()
		here := d.seen[x]
		d.mu.Unlock()
		switch {
		case here:
			return probe.Here
		case ctx.Err() != nil && d.unsure:
			return probe.Unsure
		case ctx.Err() != nil:
			return probe.Elsewhere
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Close implements watch.Ends.
func (d *device) Close() {}

// name is what the watch knows of the device.
func (d *device) name() *watch.Name {
	return &watch.Name{Domain: name, Port: func() int { return 443 }, HTTP: true,
		Key:  func() ([sha256.Size]byte, bool) { return keyOf(d.t, d.cert), true },
		Ends: func() watch.Ends { return d }, Identity: func() ed25519.PublicKey { return d.key.Public().(ed25519.PublicKey) }}
}

// serve ends a visitor's TLS with a certificate, and answers one request with the
// statement of an identity about that certificate. Where it is the device itself, it
// notes the connection.
func (d *device) serve(conn net.Conn, cert tls.Certificate, own bool, identity ed25519.PrivateKey) {
	c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	defer c.Close()
	if c.Handshake() != nil {
		return
	}
	if own {
		state := c.ConnectionState()
		x, err := probe.ExporterOf(&state)
		if err != nil {
			d.t.Error(err)
		}
		d.mu.Lock()
		d.seen[x] = true
		d.mu.Unlock()
	}
	said := statement.Sign(identity, statement.Statement{Name: name, CertificateKey: keyOf(d.t, cert), Time: time.Now()})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != statement.Path {
			d.t.Errorf("it asks for %s", r.URL.Path)
		}
		_, _ = w.Write(said)
	})}
	ln := &once{c: c, done: make(chan struct{})}
	srv.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			ln.Close()
		}
	}
	_ = srv.Serve(ln)
}

// once is a listener of one connection.
type once struct {
	c     net.Conn
	taken bool
	done  chan struct{}
	end   sync.Once
}

func (o *once) Accept() (net.Conn, error) {
	if o.taken {
		<-o.done
		return nil, net.ErrClosed
	}
	o.taken = true
	return o.c, nil
}
func (o *once) Close() error   { o.end.Do(func() { close(o.done) }); return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

// to returns a way at whose other end f is.
func (d *device) to(f func(net.Conn)) watch.Way {
	return watch.Way{Dial: func(context.Context, string) (net.Conn, error) {
		a, b := memconn.Pipe(1 << 16)
		d.wg.Go(func() {
			defer b.Close()
			f(b)
		})
		return a, nil
	}}
}

// fails is a way that fails.
func fails(err error) watch.Way {
	return watch.Way{Dial: func(context.Context, string) (net.Conn, error) { return nil, err }}
}

// gives is DNS with these addresses.
func gives(addresses ...string) watch.Resolver {
	return watch.Resolver{Name: "DNS", Lookup: func(context.Context, string) (list []netip.Addr, err error) {
		for _, a := range addresses {
			list = append(list, netip.MustParseAddr(a))
		}
		return list, nil
	}}
}

// first runs the first round of a watch. It returns the alarms, too.
func first(t *testing.T, w *watch.Watch, n *watch.Name) (*watch.Round, []watch.Alarm) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var round *watch.Round
	var alarms []watch.Alarm
	w.Alarms = &watch.Alarms{Stop: func(a watch.Alarm) { alarms = append(alarms, a) }}
	n.Told = func(r *watch.Round) { round = r; cancel() }
	w.Run(ctx, n, nil)
	if round == nil {
		t.Fatal("there was no round")
	}
	return round, alarms
}

// Each step of a probe can break: then it is not run, and never fine. A key or an end that
// is another one's is an alarm.
func TestEachStepThatBreaksIsTold(t *testing.T) {
	foreign := testca.New(t).Issue(name)
	liar := foreign // shows a certificate whose key it has not got
	liar.PrivateKey = testca.New(t).Issue(name).PrivateKey
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128"}
	type state struct {
		watch.State
		watch.Step
		why string
	}
	for what, c := range map[string]struct {
		dns    watch.Resolver
		way    func(*device) watch.Way
		change func(*device, *watch.Name)
		want   state
	}{
		"nothing breaks": {
			way:  func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) }) },
			want: state{watch.Own, "", ""}},
		"DNS fails": {
			dns: watch.Resolver{Name: "DNS", Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "server misbehaving"}
			}},
			want: state{watch.NotRun, watch.AtLookup, "server misbehaving"}},
		"DNS is silent": {
			dns: watch.Resolver{Name: "DNS", Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}},
			want: state{watch.NotRun, watch.AtLookup, "deadline"}},
		"DNS gives nothing": {
			dns: gives(), want: state{watch.NotRun, watch.AtLookup, "no address"}},
		"the address refuses": {
			way:  func(*device) watch.Way { return fails(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}) },
			want: state{watch.NotRun, watch.AtDial, "refuses connections"}},
		"the address is silent": {
			way: func(*device) watch.Way {
				return watch.Way{Dial: func(ctx context.Context, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }}
			},
			want: state{watch.NotRun, watch.AtDial, "does not answer"}},
		"there is no way": {
			way:  func(*device) watch.Way { return fails(&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}) },
			want: state{watch.NotRun, watch.AtDial, "no way"}},
		"the address is near": {
			way:  func(*device) watch.Way { return fails(watch.ErrNear) },
			want: state{watch.NotRun, watch.AtDial, "not dialled"}},
		"the proxy refuses": {
			way: func(d *device) watch.Way {
				return fails(&proxydial.Error{Proxy: "http://proxy.example:3128", Status: 403})
			},
			want: state{watch.NotRun, watch.AtProxy, "403"}},
		"the proxy leads elsewhere": {
			way: func(d *device) watch.Way {
				w := d.to(func(c net.Conn) { d.serve(c, foreign, false, d.key) })
				w.Name = proxy.Host
				return w
			},
			want: state{watch.Intercepted, "", "a key that is not this device's"}},
		"an alert": {
			way: func(d *device) watch.Way {
				return d.to(func(c net.Conn) {
					_, _ = c.Read(make([]byte, 1<<14))
					_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 112})
				})
			},
			want: state{watch.NotRun, watch.AtHandshake, "unrecognized name"}},
		"an end": {
			way:  func(d *device) watch.Way { return d.to(func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<14)) }) },
			want: state{watch.NotRun, watch.AtHandshake, "ends the connection"}},
		"silence": {
			way:  func(d *device) watch.Way { return d.to(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) },
			want: state{watch.NotRun, watch.AtHandshake, "does not answer"}},
		"another key": {
			way:  func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, foreign, false, d.key) }) },
			want: state{watch.Intercepted, "", "a key that is not this device's"}},
		"another certificate whose key nobody has": {
			way:  func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, liar, false, d.key) }) },
			want: state{watch.Intercepted, "", "a key that is not this device's"}},
		"a copy of the key": {
			way:  func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, d.cert, false, d.key) }) },
			want: state{watch.Intercepted, "", "somebody else has a copy of the key"}},
		"an end of which nothing is known": {
			way:    func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, d.cert, false, d.key) }) },
			change: func(d *device, _ *watch.Name) { d.unsure = true },
			want:   state{watch.NotRun, watch.AtEnds, "not known"}},
		"no certificate": {
			way: func(d *device) watch.Way { return d.to(func(net.Conn) {}) },
			change: func(_ *device, n *watch.Name) {
				n.Key = func() (k [sha256.Size]byte, ok bool) { return k, false }
			},
			want: state{watch.NotRun, watch.AtHandshake, "no certificate"}},
		"a new key meanwhile": {
			way: func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) }) },
			change: func(d *device, n *watch.Name) {
				calls := 0
				n.Key = func() ([sha256.Size]byte, bool) {
					if calls++; calls == 1 {
						return [sha256.Size]byte{1}, true
					}
					return keyOf(d.t, d.cert), true
				}
			},
			want: state{watch.Own, "", ""}},
		"another replica": {
			way:    func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, foreign, false, d.key) }) },
			change: func(_ *device, n *watch.Name) { n.Replica = true },
			want:   state{watch.Own, "", ""}},
		"another replica's words, by somebody else": {
			way: func(d *device) watch.Way {
				_, other, _ := ed25519.GenerateKey(nil)
				return d.to(func(c net.Conn) { d.serve(c, foreign, false, other) })
			},
			change: func(_ *device, n *watch.Name) { n.Replica = true },
			want:   state{watch.Intercepted, "", "a key that is not this device's"}},
		"a replica with the same key": {
			way:    func(d *device) watch.Way { return d.to(func(c net.Conn) { d.serve(c, d.cert, false, d.key) }) },
			change: func(_ *device, n *watch.Name) { n.Replica = true },
			want:   state{watch.NotRun, watch.AtEnds, "another replica"}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDevice(t)
				n := d.name()
				if c.change != nil {
					c.change(d, n)
				}
				w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{fails(errors.New("not asked for"))}}
				if c.dns.Lookup != nil {
					w.Resolvers[0] = c.dns
				}
				if c.way != nil {
					w.Ways[0] = c.way(d)
				}
				round, alarms := first(t, w, n)
				if len(round.Results) != 1 {
					t.Fatalf("%+v", round.Results)
				}
				got := round.Results[0]
				if got.State != c.want.State || got.Step != c.want.Step || !strings.Contains(got.Why, c.want.why) || round.State() != c.want.State {
					t.Errorf("%s at %q: %s", got.State, got.Step, got.Why)
				}
				if raised := len(alarms) > 0; raised != (c.want.State == watch.Intercepted) {
					t.Errorf("alarms: %v", alarms)
				}
				if len(alarms) > 0 && (alarms[0].Name != name || len(alarms[0].Chain) == 0 || alarms[0].Seen != watch.Path) {
					t.Errorf("%+v", alarms[0])
				}
				if fine := strings.HasPrefix(round.Text(), "nobody between"); fine != (c.want.State == watch.Own) {
					t.Error(round.Text())
				}
			})
		})
	}
}
