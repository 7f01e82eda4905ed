package remote_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/statement"
	"keystay/internal/testca"
	"keystay/remote"
	"keystay/remote/watch"
)

// The URL is that of the first of the name's own relays that has given it, whichever of them
// another name of the device has brought up first. What a relay says that has not given it
// counts for nothing.
func TestTheFirstRelayThatHasGivenTheNameSaysItsPort(t *testing.T) {
	a, b, d, told := twoRelays(t)
	b.says(22)
	only := a.named("only.relay.test")
	only.Relays, only.RelayAddresses = []string{"other.test"}, []string{b.addr}
	if _, err := d.Listen(only); err != nil {
		t.Fatal(err)
	}
	told.next(t, remote.Connected)
	both := a.serveNames(d, "both.relay.test")[0]
	for range 2 {
		told.next(t, remote.Connected)
	}
	if got, want := both.URL(), "https://both.relay.test:8443"; got != want {
		t.Errorf("where both give it it is %s, want %s", got, want)
	}
	a.set(nil, func(string, string) error { return &framing.Denial{Code: framing.DeniedLimit, Text: "not now"} })
	late := a.serveNames(d, "late.relay.test")[0]
	told.next(t, remote.Denied)
	if got, want := late.URL(), "https://late.relay.test:22"; got != want {
		t.Errorf("where the second alone gives it it is %s, want %s", got, want)
	}
}

// says makes the relay say a port for visitors on its next links.
func (r *fakeRelay) says(port int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public = uint16(port)
}

// A door is a public port of a relay's: it passes visitors of a name on, or ends their TLS
// itself once it spies.
type door struct {
	name string
	cert tls.Certificate
	link atomic.Pointer[relayLink]
	spy  atomic.Bool
}

// open opens the door at an address, and returns its port.
func (d *door) open(t *testing.T, at string) int {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Skip(err) // Linux alone has 127.0.0.2 without being told
	}
	serveAll(t, ln, d.serve)
	return ln.Addr().(*net.TCPAddr).Port
}

func (d *door) serve(c net.Conn) {
	defer c.Close()
	if d.spy.Load() {
		_, _ = io.Copy(io.Discard, tls.Server(c, &tls.Config{Certificates: []tls.Certificate{d.cert}}))
		return
	}
	s, err := d.link.Load().Open(framing.Header{Name: d.name, Kind: framing.KindTLS, Source: visitorAddr, Dest: netip.MustParseAddrPort("203.0.113.1:443")}, nil)
	if err != nil {
		return
	}
	defer s.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(s, c)
		_ = s.CloseWrite()
	}()
	_, _ = io.Copy(c, s)
	c.Close()
	<-done
}

// look is a round of a watch that looks at a name as the program does. Its DNS gives the
// addresses.
func look(t *testing.T, ln *remote.Listener, cert tls.Certificate, roots *x509.CertPool, addresses ...string) *watch.Round {
	t.Helper()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var round *watch.Round
	n := &watch.Name{Domain: ln.Domain(), Beside: ln.Ports, Ends: func() watch.Ends { return ln.NoteEnds() },
		Port: func() int {
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			p, _ := strconv.Atoi(port)
			return p
		},
		Key:  func() ([sha256.Size]byte, bool) { return statement.KeyOf(leaf), true },
		Told: func(r *watch.Round) { round = r; cancel() }}
	w := &watch.Watch{Roots: roots,
		Resolvers: []watch.Resolver{{Name: "DNS", Lookup: func(context.Context, string) (list []netip.Addr, err error) {
			for _, a := range addresses {
				list = append(list, netip.MustParseAddr(a))
			}
			return list, nil
		}}},
		Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":443") {
				return nil, errors.New("this test has nothing there")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}}}}
	w.Run(ctx, n, nil)
	if round == nil {
		t.Fatal("there was no round")
	}
	return round
}

// A relay that listens in where the URL leads that the owner has given out, and says another
// port on its next link, is found all the same, and the log tells of the other URL.
func TestTheWatchLooksWhereVisitorsWereLedBefore(t *testing.T) {
	r, ca := newRelay(t), testca.New(t)
	published, hidden := &door{name: domain, cert: ca.Issue(domain)}, &door{name: domain}
	first, second := published.open(t, "127.0.0.1:0"), hidden.open(t, "127.0.0.1:0")
	r.says(first)
	cfg, logged := r.config(), make(lines, 100)
	cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
	ln := r.listen(cfg)
	accepting(ln)
	published.link.Store(r.next())
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	before := ln.URL()
	if got := look(t, ln, cfg.TLS.Certificates[0], ca.Pool(), "127.0.0.1"); got.State() != watch.Own {
		t.Errorf("before: %s", got.Text())
	}
	published.spy.Store(true)
	r.says(second)
	r.cut()
	hidden.link.Store(r.next())
	want := "from=" + before + " to=" + strings.ReplaceAll(before, strconv.Itoa(first), strconv.Itoa(second)) + " "
	for line := ""; !strings.Contains(line, "the URL of a name has moved") || !strings.Contains(line, want); {
		select {
		case line = <-logged:
		case <-time.After(patience):
			t.Fatalf("the log does not tell %q", want)
		}
	}
	got := look(t, ln, cfg.TLS.Certificates[0], ca.Pool(), "127.0.0.1")
	if got.State() != watch.Intercepted || !strings.Contains(got.Text(), ":"+strconv.Itoa(first)) {
		t.Errorf("the visitors of %s are listened in on: %s", before, got.Text())
	}
}

// A relay that listens in at the port that another relay of the name says, and says one
// itself where it does not, is found all the same.
func TestTheWatchLooksAtThePortsOfAllRelays(t *testing.T) {
	const name = "both.relay.test"
	a, b, d, told := twoRelays(t)
	ca := testca.New(t)
	spy, hidden, honest := &door{cert: ca.Issue(name)}, &door{name: name}, &door{name: name}
	spy.spy.Store(true)
	port := spy.open(t, "127.0.0.1:0")
	honest.open(t, net.JoinHostPort("127.0.0.2", strconv.Itoa(port)))
	a.says(hidden.open(t, "127.0.0.1:0"))
	b.says(port)
	n := a.named(name)
	list, err := d.Listen(n)
	if err != nil {
		t.Fatal(err)
	}
	accepting(list[0])
	hidden.link.Store(a.next())
	honest.link.Store(b.next())
	for range 2 {
		told.next(t, remote.Connected)
	}
	if got := look(t, list[0], n.TLS.Certificates[0], ca.Pool(), "127.0.0.1", "127.0.0.2"); got.State() != watch.Intercepted {
		t.Errorf("the visitors at %d are listened in on: %s", port, got.Text())
	}
}
