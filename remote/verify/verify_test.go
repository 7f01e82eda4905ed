package verify_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"keystay/internal/domainproof"
	"keystay/internal/keyname"
	"keystay/internal/statement"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

const account = "https://ca.test/acct/1"

func seeded(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

// device is the key that should answer, and other another one.
var device, other = seeded(1), seeded(2)

func label(key ed25519.PrivateKey) string {
	return keyname.Label(key.Public().(ed25519.PublicKey), "")
}

// A rig is a name with what answers for it.
type rig struct {
	t       *testing.T
	name    string
	cert    tls.Certificate
	handler http.HandlerFunc // nil answers with what the device says
	said    statement.Statement
	key     ed25519.PrivateKey
	config  verify.Config
}

// newRig makes the name answer rightly.
func newRig(t *testing.T, name string) *rig {
	ca := testca.New(t)
	r := &rig{t: t, name: name, cert: ca.Issue(name), key: device}
	r.said = statement.Statement{Name: name, CertificateKey: statement.KeyOf(leaf(t, r.cert)), Account: account, Time: time.Now()}
	r.config = verify.Config{Name: name, Roots: ca.Pool(), DNS: domainproof.Resolver{Servers: []netip.AddrPort{netip.MustParseAddrPort(caaServer(t, name, `ca.test; accounturi=`+account))}}}
	return r
}

func leaf(t *testing.T, cert tls.Certificate) *x509.Certificate {
	l, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// caaServer is a DNS server on loopback that has one CAA record; without a value it says
// that it fails.
func caaServer(t *testing.T, name, issue string) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { pc.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			switch {
			case issue == "":
				m.RCode = dnsmessage.RCodeServerFailure
			case q.Name.String() == name+"." && q.Type == 257:
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: 257, Class: q.Class},
					Body: &dnsmessage.UnknownResource{Type: 257, Data: append([]byte{0, 5}, "issue"+issue...)}}}
			}
			if out, err := m.Pack(); err == nil {
				pc.WriteTo(out, from)
			}
		}
	})
	return pc.LocalAddr().String()
}

func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	if r.handler != nil {
		r.handler(w, req)
		return
	}
	w.Header().Set("Content-Type", statement.ContentType)
	w.Write(statement.Sign(r.key, r.said))
}

// check checks the name, and returns the report.
func (r *rig) check() *verify.Report {
	r.t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{r.cert}}
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	r.config.Address = srv.Listener.Addr().String()
	return r.config.Check(r.t.Context())
}

func (r *rig) want(report *verify.Report, v verify.Verdict, steps map[verify.Step]verify.State) {
	r.t.Helper()
	if report.Verdict != v {
		r.t.Errorf("the verdict is %s: %+v", report.Verdict, report.Checks)
	}
	for s, state := range steps {
		if got := report.Of(s); got.State != state || got.Detail == "" {
			r.t.Errorf("%s: %+v, want %s", s, got, state)
		}
	}
}

// Where all is as it should be the device holds the key; what decides nothing does not
// change that.
func TestDeviceHoldsTheKey(t *testing.T) {
	ok := map[verify.Step]verify.State{verify.Connection: verify.OK, verify.Chain: verify.OK, verify.Document: verify.OK, verify.Signature: verify.OK,
		verify.SameName: verify.OK, verify.Key: verify.OK, verify.Time: verify.OK, verify.Identity: verify.OK, verify.CAA: verify.OK, verify.CT: verify.NotChecked}
	for _, about := range []struct{ name, identity string }{
		{label(device) + ".relay.test", ""}, {label(device) + ".relay.test", label(device)}, {"xyz.relay.test", label(device)},
	} {
		r := newRig(t, about.name)
		r.config.Identity = about.identity
		report := r.check()
		r.want(report, verify.Held, ok)
		if report.Identity != label(device) || report.Account != account || len(report.CertificateKey) != 64 || report.NotAfter.IsZero() || report.Time.IsZero() {
			t.Errorf("%+v", report)
		}
	}
	r := newRig(t, label(device)+".relay.test")
	r.config.DNS.Servers[0] = netip.MustParseAddrPort(caaServer(t, r.name, ""))
	report := r.check()
	r.want(report, verify.Held, map[verify.Step]verify.State{verify.CAA: verify.NotChecked})
	if !strings.Contains(report.Of(verify.CAA).Detail, "SERVFAIL") {
		t.Error(report.Of(verify.CAA))
	}
}

// A name that is not made from a key, without anybody saying whose it should be, proves
// nothing of whose it is.
func TestIdentityThatNothingPinsIsNotChecked(t *testing.T) {
	r := newRig(t, "xyz.relay.test")
	r.want(r.check(), verify.Unknown, map[verify.Step]verify.State{verify.Key: verify.OK, verify.Identity: verify.NotChecked})
}

// A relay that ends TLS itself is found in whatever it answers with.
func TestForeignKeys(t *testing.T) {
	name := label(device) + ".relay.test"
	for what, c := range map[string]struct {
		change func(*rig)
		wrong  verify.Step
	}{
		"the device's document, shown again over another key": {func(r *rig) { r.said.CertificateKey[0] ^= 1 }, verify.Key},
		"a document of its own":                               {func(r *rig) { r.key = other }, verify.Identity},
		"the document of another name of the device":          {func(r *rig) { r.said.Name = "other.relay.test" }, verify.SameName},
		"the document of another name made from the key": {func(r *rig) {
			r.said.Word, r.said.Name = "notes", keyname.Label(device.Public().(ed25519.PublicKey), "notes")+".relay.test"
		}, verify.SameName},
		"a signature by another key": {func(r *rig) {
			mine, theirs := statement.Sign(device, r.said), statement.Sign(other, r.said)
			mine = append(mine[:bytes.Index(mine, []byte(`"signature"`))], theirs[bytes.Index(theirs, []byte(`"signature"`)):]...)
			r.handler = answerWith(mine)
		}, verify.Signature},
		"a word that makes the label of nothing": {func(r *rig) { r.key, r.said.Word = other, "x" }, verify.Identity},
		"a chain that is not trusted, too":       {func(r *rig) { r.config.Roots, r.key = x509.NewCertPool(), other }, verify.Identity},
		"an old one of another device":           {func(r *rig) { r.key, r.said.Time = other, time.Now().Add(-time.Hour) }, verify.Identity},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, name)
			c.change(r)
			r.want(r.check(), verify.Foreign, map[verify.Step]verify.State{c.wrong: verify.Wrong})
		})
	}
	r := newRig(t, "xyz.relay.test")
	r.config.Identity = label(other)
	r.want(r.check(), verify.Foreign, map[verify.Step]verify.State{verify.Identity: verify.Wrong})
}

func answerWith(doc []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Write(doc)
	}
}

// What cannot be looked at to its end is not checked: it is never fine, and no accusation.
func TestWhatIsNotChecked(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*rig)
		step   verify.Step
		state  verify.State
	}{
		"too old":         {func(r *rig) { r.said.Time = time.Now().Add(-statement.Window - time.Minute) }, verify.Time, verify.NotChecked},
		"from the future": {func(r *rig) { r.said.Time = time.Now().Add(statement.Window + time.Minute) }, verify.Time, verify.NotChecked},
		"untrusted":       {func(r *rig) { r.config.Roots = x509.NewCertPool() }, verify.Chain, verify.Wrong},
		"another's name": {func(r *rig) {
			r.cert = testca.New(t).Issue("evil.test")
			r.said.CertificateKey = statement.KeyOf(leaf(t, r.cert))
		}, verify.Chain, verify.Wrong},
		"none": {func(r *rig) { r.handler = http.NotFound }, verify.Document, verify.NotChecked},
		"a page": {func(r *rig) {
			r.handler = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html>") }
		}, verify.Document, verify.NotChecked},
		"no JSON":         {func(r *rig) { r.handler = answerWith([]byte("hello")) }, verify.Document, verify.NotChecked},
		"another version": {func(r *rig) { r.handler = answerWith([]byte(`{"keystay":2}`)) }, verify.Document, verify.NotChecked},
		"without end":     {func(r *rig) { r.handler = endless }, verify.Document, verify.NotChecked},
		"a head too long": {func(r *rig) {
			r.handler = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }
		}, verify.Document, verify.NotChecked},
		"cut": {func(r *rig) { r.handler = cut }, verify.Document, verify.NotChecked},
		"a key of 31 byte": {func(r *rig) {
			r.handler = answerWith(bytes.Replace(statement.Sign(device, r.said), []byte(`"identity": "`), []byte(`"identity": "AA==`), 1))
		}, verify.Document, verify.NotChecked},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, label(device)+".relay.test")
			c.change(r)
			r.want(r.check(), verify.Unknown, map[verify.Step]verify.State{c.step: c.state, verify.Connection: verify.OK})
		})
	}
}

func endless(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", statement.ContentType)
	for req.Context().Err() == nil {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
			return
		}
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", statement.ContentType)
	io.WriteString(w, `{"keystay":1`)
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// A redirect is no document, and nobody goes where it leads.
func TestRedirectIsNotFollowed(t *testing.T) {
	r := newRig(t, label(device)+".relay.test")
	asked := 0
	r.handler = func(w http.ResponseWriter, req *http.Request) {
		asked++
		http.Redirect(w, req, "https://"+req.Host+"/other", http.StatusFound)
	}
	report := r.check()
	r.want(report, verify.Unknown, map[verify.Step]verify.State{verify.Document: verify.NotChecked})
	if asked != 1 || !strings.Contains(report.Of(verify.Document).Detail, "302") {
		t.Errorf("asked %d times: %+v", asked, report.Of(verify.Document))
	}
}

// A server that never answers is given up on, and so is a name that cannot be reached.
func TestSilenceEnds(t *testing.T) {
	r := newRig(t, label(device)+".relay.test")
	ctx, cancel := context.WithCancel(t.Context())
	r.handler = func(_ http.ResponseWriter, req *http.Request) { cancel(); <-req.Context().Done() }
	srv := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{r.cert}}
	srv.StartTLS()
	r.config.Address = srv.Listener.Addr().String()
	report := r.config.Check(ctx)
	srv.Close()
	r.want(report, verify.Unknown, map[verify.Step]verify.State{verify.Connection: verify.OK, verify.Chain: verify.OK, verify.Document: verify.NotChecked})

	r.want(r.config.Check(t.Context()), verify.Unknown, map[verify.Step]verify.State{verify.Connection: verify.NotChecked, verify.Chain: verify.NotChecked, verify.CAA: verify.NotChecked})
}

// A given address is dialled directly, whatever proxy there is.
func TestAddressGoesWithoutAProxy(t *testing.T) {
	r := newRig(t, label(device)+".relay.test")
	r.config.Proxy = func(*http.Request) (*url.URL, error) { t.Error("the proxy was asked for"); return nil, nil }
	r.want(r.check(), verify.Held, nil)
}

// CAA records are compared with the account that the document names.
func TestCAAIsCompared(t *testing.T) {
	for issue, want := range map[string]verify.State{
		"ca.test; accounturi=" + account:                                verify.OK,
		"ca.test; accounturi=" + account + "; validationmethods=dns-01": verify.Wrong,
		"ca.test; accounturi=https://ca.test/acct/2":                    verify.NotChecked,
		"ca.test": verify.NotChecked,
		";":       verify.Wrong,
	} {
		r := newRig(t, label(device)+".relay.test")
		r.config.DNS.Servers[0] = netip.MustParseAddrPort(caaServer(t, r.name, issue))
		r.want(r.check(), verify.Held, map[verify.Step]verify.State{verify.CAA: want})
	}
}

// Timestamps of logs are counted in a certificate, and a list that is not well formed is
// no list.
func TestSCTsAreCounted(t *testing.T) {
	for _, c := range []struct {
		list string
		want int
	}{
		{"\x00\x09\x00\x01a\x00\x04bcde", 2}, {"\x00\x03\x00\x01a", 1}, {"\x00\x00", 0}, {"", 0}, {"\x00\x02\x00\x00", 0}, {"\x00\x03\x00\x02a", 0}, {"\x00\x03\x00\x01aX", 0},
	} {
		value, err := asn1.Marshal([]byte(c.list))
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: []pkix.Extension{{Id: verify.SCTList, Value: value}}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, device.Public(), device)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got := verify.CountSCTs(cert); got != c.want {
			t.Errorf("%q: %d, want %d", c.list, got, c.want)
		}
	}
}

// A name that nobody answers for is not checked, and that is no accusation.
func Example() {
	c := verify.Config{Name: "xyz.relay.test", Address: "127.0.0.1:1"}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody is waited for
	report := c.Check(ctx)
	fmt.Println(report.Verdict, report.Of(verify.Connection).State)
	// Output: unknown not_checked
}

// A proxy that is spoken to over TLS has to show a certificate of its own: it gets a
// password. Its key is not the name's.
func TestProxyIsVerified(t *testing.T) {
	heard := make(chan string, 1)
	cert := testca.New(t).Issue("proxy.test")
	at := testnet.Serve(t, func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		b := make([]byte, 4096)
		n, _ := tc.Read(b)
		io.WriteString(tc, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		heard <- string(b[:n])
	})
	r := newRig(t, label(device)+".relay.test")
	r.config.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("https://user:secret@" + at.String()) }
	report := r.config.Check(t.Context())
	r.want(report, verify.Unknown, map[verify.Step]verify.State{verify.Connection: verify.NotChecked, verify.Chain: verify.NotChecked})
	if got := <-heard; got != "" || report.CertificateKey != "" {
		t.Errorf("a proxy that is not trusted gets %q, and its key %s is taken for the name's", got, report.CertificateKey)
	}
}
