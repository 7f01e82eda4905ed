package watch_test

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"keystay/internal/testca"
	"keystay/remote/watch"
)

// at is a name whose device is at 8443, and where a certificate is shown at another port, or
// at that one in its place. The watch trusts public.
func at(t *testing.T, port string, public *testca.CA, shown tls.Certificate) (*watch.Watch, *watch.Name) {
	t.Helper()
	d := newDevice(t)
	ends := map[string]func(net.Conn){"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) }}
	ends[port] = func(c net.Conn) { d.serve(c, shown, false, d.key) }
	n := d.name()
	n.Port = func() int { return 8443 }
	return &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{d.byPort(ends)}, Roots: public.Pool()}, n
}

// What stands behind the leaf can make the handshake fail here and not in a browser. It
// hides no key, at no port.
func TestAForeignKeyIsSeenWhateverIsBehindItsLeaf(t *testing.T) {
	for _, port := range []string{"443", "8443"} {
		t.Run(port, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				public := testca.New(t)
				spy := public.Issue(name)
				spy.Certificate = append(spy.Certificate, []byte("junk"))
				w, n := at(t, port, public, spy)
				round, alarms := first(t, w, n)
				if want := "intercepted: 192.0.2.1:" + port + " shows a key"; !strings.HasPrefix(round.Text(), want) || len(alarms) != 1 {
					t.Errorf("%q, want %q; alarms: %v", round.Text(), want, alarms)
				}
			})
		})
	}
}

// So a peer sees it, too.
func TestAPeerSeesAForeignKeyWhateverIsBehindItsLeaf(t *testing.T) {
	for _, port := range []string{"443", "8443"} {
		t.Run(port, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, public := newDevice(t), testca.New(t)
				spy := public.Issue(name)
				spy.Certificate = append(spy.Certificate, []byte("junk"))
				ends := map[string]func(net.Conn){"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) }}
				ends[port] = func(c net.Conn) { d.serve(c, spy, false, d.key) }
				w, _ := crossing(t, d, d.byPort(ends))
				w.Roots = public.Pool()
				n := d.name()
				n.Port = func() int { return 8443 }
				if round, alarms := first(t, w, n); round.State() != watch.Intercepted || len(alarms) != 1 {
					t.Errorf("%s; alarms: %v", round.Text(), alarms)
				}
			})
		})
	}
}

// A leaf that the device cannot read is not another server's where it may be for the name.
func TestALeafThatCannotBeReadIsNotFine(t *testing.T) {
	for what, c := range map[string]struct {
		leaf string
		told bool
	}{
		"for the name":     {"junk with XYZ.relay.example in it", true},
		"for its wildcard": {"junk with *.relay.example in it", true},
		"for another name": {"junk with www.example in it", false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				public := testca.New(t)
				spy := public.Issue(name)
				spy.Certificate = [][]byte{[]byte(c.leaf)}
				w, n := at(t, "443", public, spy)
				round, alarms := first(t, w, n)
				told := slices.ContainsFunc(round.Results, func(r watch.Result) bool { return r.Step == watch.AtCertificate })
				if told != c.told || (round.State() == watch.NotRun) != c.told || len(alarms) > 0 {
					t.Errorf("%q; alarms: %v", round.Text(), alarms)
				}
			})
		})
	}
}
