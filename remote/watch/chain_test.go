package watch_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// fake returns a certificate that passes for a CA's by its name and its key, and that the
// operator has made.
func fake(t *testing.T, ca []byte, change func(*x509.Certificate)) []byte {
	t.Helper()
	of, err := x509.ParseCertificate(ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: of.Subject, SubjectKeyId: of.SubjectKeyId, PublicKey: of.PublicKey,
		NotBefore: of.NotBefore, NotAfter: of.NotAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: pkix.Name{CommonName: "spy"}}, c.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Beside the name's port a chain that leads to a root is an interception. Of one that does
// not, what stands behind the leaf clears nobody: the leaf counts, and where browsers may
// find a way from it that is told, and no alarm.
func TestBesideItsPortNothingBehindTheLeafClearsIt(t *testing.T) {
	type chain func(t *testing.T, leaf, between []byte) [][]byte
	expired := func(c *x509.Certificate) { c.NotAfter = time.Unix(1000, 0) }
	var other any
	for what, c := range map[string]struct {
		public, silent bool   // its CA is a public one; the leaf does not say where that is
		names          string // or that of the device
		old            bool   // the leaf has expired
		chain          chain
		want           watch.State
	}{
		"a whole chain": {public: true, want: watch.Intercepted,
			chain: func(_ *testing.T, leaf, between []byte) [][]byte { return [][]byte{leaf, between} }},
		"a whole chain behind an expired fake": {public: true, want: watch.Intercepted,
			chain: func(t *testing.T, leaf, between []byte) [][]byte {
				return [][]byte{leaf, fake(t, between, expired), between}
			}},
		"the leaf alone": {public: true, want: watch.NotRun,
			chain: func(_ *testing.T, leaf, _ []byte) [][]byte { return [][]byte{leaf} }},
		"an expired fake": {public: true, want: watch.NotRun,
			chain: func(t *testing.T, leaf, between []byte) [][]byte { return [][]byte{leaf, fake(t, between, expired)} }},
		"a fake for other names": {public: true, want: watch.NotRun,
			chain: func(t *testing.T, leaf, between []byte) [][]byte {
				return [][]byte{leaf, fake(t, between, func(c *x509.Certificate) {
					c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"a.example"}, true
				})}
			}},
		"more fakes than are tried": {public: true, silent: true, want: watch.NotRun,
			chain: func(t *testing.T, leaf, between []byte) [][]byte {
				all := [][]byte{leaf}
				for range 101 {
					all = append(all, fake(t, between, func(c *x509.Certificate) { c.PublicKey = other }))
				}
				return append(all, between)
			}},
		"a leaf that has expired": {public: true, old: true, want: watch.Own,
			chain: func(_ *testing.T, leaf, between []byte) [][]byte { return [][]byte{leaf, between} }},
		"an expired fake for another name": {public: true, names: "www.example", want: watch.Own,
			chain: func(t *testing.T, leaf, between []byte) [][]byte { return [][]byte{leaf, fake(t, between, expired)} }},
		"a CA of a company": {want: watch.NotRun,
			chain: func(_ *testing.T, leaf, between []byte) [][]byte { return [][]byte{leaf, between} }},
		"a CA of a company that does not say where it is": {silent: true, want: watch.Own,
			chain: func(_ *testing.T, leaf, between []byte) [][]byte { return [][]byte{leaf, between} }},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				other = &key.PublicKey
				public := testca.New(t)
				ca := public
				if !c.public {
					ca = testca.New(t)
				}
				between := ca.Intermediate("between")
				if !c.silent {
					between.At = "http://ca.example/between.der"
				}
				end := time.Now().Add(time.Hour)
				if c.old {
					end = time.Now().Add(-time.Minute)
				}
				shown := between.IssueValid(time.Now().Add(-time.Hour), end, cmp.Or(c.names, name))
				block, _ := pem.Decode(between.PEM())
				shown.Certificate = c.chain(t, shown.Certificate[0], block.Bytes)
				w, n := at(t, "443", public, shown)
				round, alarms := first(t, w, n)
				if round.State() != c.want || (len(alarms) > 0) != (c.want == watch.Intercepted) {
					t.Errorf("%s: %q; alarms: %v", round.State(), round.Text(), alarms)
				}
				if says := strings.Contains(round.Text(), "cannot judge; a browser may take it: of CN=between, valid from"); says != (c.want == watch.NotRun) {
					t.Errorf("%q", round.Text())
				}
			})
		})
	}
}

// A peer tells the certificates that count, whatever else was shown, and what it cannot
// judge is told here.
func TestAPeerTellsTheCertificatesThatCount(t *testing.T) {
	for what, want := range map[string]watch.State{"the whole chain": watch.Intercepted, "the leaf": watch.NotRun} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, public := newDevice(t), testca.New(t)
				between := public.Intermediate("between")
				between.At = "http://ca.example/between.der"
				spy := between.Issue(name)
				block, _ := pem.Decode(between.PEM())
				for range 20 { // more than is told
					spy.Certificate = append(spy.Certificate, fake(t, block.Bytes, func(*x509.Certificate) {}))
				}
				if want == watch.Intercepted {
					spy.Certificate = append(spy.Certificate, block.Bytes)
				}
				w, p := crossing(t, d, d.byPort(map[string]func(net.Conn){
					"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) },
					"443":  func(c net.Conn) { d.serve(c, spy, false, d.key) },
				}))
				w.Roots, p.answers.Watch.Roots = public.Pool(), public.Pool()
				n := d.name()
				n.Port = func() int { return 8443 }
				if round, alarms := first(t, w, n); round.State() != want || (len(alarms) > 0) != (want == watch.Intercepted) {
					t.Errorf("%s; alarms: %v", round.Text(), alarms)
				}
			})
		})
	}
}
