package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"keystay/acme"
	"keystay/e2e/internal/malice"
	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
)

// frontHost is where an operator's front stands: the public address, as DNS says, with
// the relay's port.
const frontHost = "127.0.0.9"

// An eavesdropper is an operator who listens in: a front, a CA that has given it a
// certificate, and the zone's DNS.
type eavesdropper struct {
	front *malice.Front
	ca    *pebble.Server
	names *malice.Names
	end   []func()

	mu   sync.Mutex
	lies map[netip.Addr]netip.Addr // who is told another address than the front's
}

// maliceCommand is the command
//
//	malice start                       stand at $FRONT, in front of the relay, with the DNS of its zone
//	malice order                       get a certificate for $NAME from a second CA
//	malice pick nobody|everyone|browsers|others|all-but ADDRESS...
//	malice resolver NAME ADDRESS       a resolver at $NAME, which asks that DNS from ADDRESS
//	malice lie RESOLVER ADDRESS        tell RESOLVER another address of every name than the front's
//	malice read TEXT                   the front has read TEXT
//	malice detour NAME ADDRESS         a proxy for CONNECT at $NAME, which dials from ADDRESS
func maliceCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg && args[0] != "read" {
		ts.Fatalf("usage: malice VERB [ARG...]")
	}
	w := settingOf(ts)
	if w.malice == nil && args[0] != "start" {
		ts.Fatalf("nobody listens in yet: malice start")
	}
	switch verb, args := args[0], args[1:]; {
	case verb == "start" && len(args) == 0:
		ts.Check(w.startMalice(ts))
	case verb == "order" && len(args) == 0:
		ts.Check(w.malice.order(ts.MkAbs("malice")))
	case verb == "pick" && len(args) > 0:
		ts.Check(w.malice.pick(args[0], args[1:]))
	case verb == "lie" && len(args) == 2:
		client, err := netip.ParseAddr(args[0])
		ts.Check(err)
		told, err := netip.ParseAddr(args[1])
		ts.Check(err)
		w.malice.mu.Lock()
		w.malice.lies[client] = told
		w.malice.mu.Unlock()
	case verb == "resolver" && len(args) == 2:
		addr, err := w.malice.resolver(args[1])
		ts.Check(err)
		ts.Setenv(args[0], addr)
	case verb == "read" && len(args) == 1:
		if has := strings.Contains(w.malice.front.Read(), args[0]); has == neg {
			ts.Fatalf("the front has read:\n%s", w.malice.front.Read())
		}
	case verb == "detour" && len(args) == 2:
		addr, err := w.malice.detour(args[1])
		ts.Check(err)
		ts.Setenv(args[0], addr)
	default:
		ts.Fatalf("malice cannot %s %v", verb, args)
	}
}

// startMalice puts a front in front of the story's relay. It picks nobody yet.
func (w *setting) startMalice(ts *testscript.TestScript) (err error) {
	m := &eavesdropper{lies: make(map[netip.Addr]netip.Addr)}
	w.malice = m // whatever there is of it is closed at the end
	relay := ts.Getenv("RELAY")
	m.front = &malice.Front{Name: storied, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", relay)
	}}
	m.end = append(m.end, m.front.Close)
	ln, err := net.Listen("tcp", net.JoinHostPort(frontHost, ts.Getenv("RELAY_PORT")))
	if err != nil {
		return err
	}
	m.serve(func() { m.front.Serve(ln) })
	if m.names, err = malice.ServeNames("127.0.0.1:0", m.answer); err != nil {
		return err
	}
	m.end = append(m.end, m.names.Close)
	if m.ca, err = pebble.Start(pebble.Options{}); err != nil {
		return err
	}
	m.end = append(m.end, func() { m.ca.Close() })
	m.ca.SetTLSTarget(ln.Addr().String())
	ts.Setenv("FRONT", ln.Addr().String())
	root := ts.MkAbs("second-root.pem")
	ts.Setenv("SECOND_ROOT", root)
	return os.WriteFile(root, m.ca.IssuerPEM(), 0o600)
}

// serve runs f until the end of the story.
func (m *eavesdropper) serve(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	m.end = append([]func(){func() { <-done }}, m.end...) // called last
}

// close ends all of it.
func (m *eavesdropper) close() {
	for i := len(m.end) - 1; i >= 0; i-- {
		m.end[i]()
	}
}

// order gets a certificate for the name, as whoever controls a zone can.
func (m *eavesdropper) order(dir string) error {
	keys, err := acme.New(acme.Config{Dir: filepath.Join(dir, "acme"), CA: m.ca.DirectoryURL(), Roots: m.ca.APIPool(), NoHTTP01: true})
	if err != nil {
		return err
	}
	m.end = append(m.end, func() { keys.Close() })
	m.front.TLS = keys.TLSConfig()
	m.front.Ordering.Store(true)
	defer m.front.Ordering.Store(false)
	if err := keys.Manage(storied); err != nil {
		return err
	}
	ctx, cancel := timeout(world.Patience)
	defer cancel()
	return keys.Wait(ctx, storied)
}

// pick says on whom the front listens in.
func (m *eavesdropper) pick(whom string, addresses []string) error {
	var not []netip.Addr
	for _, a := range addresses {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return err
		}
		not = append(not, addr)
	}
	pick, ok := map[string]malice.Intercept{
		"nobody": nil, "everyone": malice.Everyone, "browsers": malice.OnlyBrowsers, "others": malice.OnlyOthers, "all-but": malice.AllBut(not...),
	}[whom]
	if !ok {
		return fmt.Errorf("nobody is %q", whom)
	}
	m.front.Pick(pick)
	return nil
}

// answer is what DNS says of every name.
func (m *eavesdropper) answer(client netip.Addr) []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	if told, ok := m.lies[client]; ok {
		return []netip.Addr{told}
	}
	return []netip.Addr{netip.MustParseAddr(frontHost)}
}

// resolver starts a resolver that asks the zone's DNS from an address of its own, as a
// provider's does, and returns its address.
func (m *eavesdropper) resolver(from string) (addr string, err error) {
	asks := dns.Client{Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}, Timeout: world.Patience}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if a, _, err := asks.Exchange(q, m.names.Addr); err == nil {
			w.WriteMsg(a)
		}
	})}
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	m.serve(func() { srv.ActivateAndServe() })
	<-started
	m.end = append(m.end, func() { srv.Shutdown() })
	return conn.LocalAddr().String(), nil
}

// detour starts a proxy for CONNECT that dials from an address of its own, as one in
// another network does.
func (m *eavesdropper) detour(from string) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	var carried sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	proxy := &http.Server{ReadHeaderTimeout: world.Patience, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		host, port, _ := net.SplitHostPort(r.Host)
		if net.ParseIP(host) == nil {
			host = frontHost // as DNS says there
		}
		there, err := d.DialContext(r.Context(), "tcp", net.JoinHostPort(host, port))
		if r.Method != http.MethodConnect || err != nil {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		rw.WriteHeader(http.StatusOK)
		here, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			there.Close()
			return
		}
		for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
			carried.Go(func() {
				defer context.AfterFunc(ctx, func() { way[0].Close() })()
				io.Copy(way[0], way[1])
				way[0].Close()
			})
		}
	})}
	m.end = append(m.end, func() {
		proxy.Close()
		cancel()
		carried.Wait()
	})
	m.serve(func() { proxy.Serve(ln) })
	return ln.Addr().String(), nil
}
