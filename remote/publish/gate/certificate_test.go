package gate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"keystay/remote/publish/gate"
)

// A signer is a CA for clients.
type signer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newSigner(t *testing.T, name string) *signer {
	t.Helper()
	s := &signer{t: t}
	s.cert, s.key = s.issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return s
}

func (s *signer) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, by := s.cert, s.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert, key
}

// client issues a certificate for a client.
func (s *signer) client(template x509.Certificate) *tls.Certificate {
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	cert, key := s.issue(&template)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// serveTLS serves a rig as a remote does: a certificate is asked for and not verified.
// It returns what asks it, with a certificate or nil.
func serveTLS(t *testing.T, x *rig) func(cert *tls.Certificate, sessions tls.ClientSessionCache) (*http.Response, bool) {
	t.Helper()
	server := httptest.NewUnstartedServer(x.handler)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: x.gate.ClientCAs()}
	server.StartTLS()
	t.Cleanup(server.Close)
	return func(cert *tls.Certificate, sessions tls.ClientSessionCache) (*http.Response, bool) {
		t.Helper()
		config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: sessions, ServerName: name}
		if cert != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/x", nil)
		r.Host = name
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp, resp.TLS.DidResume
	}
}

// A client certificate of the CA lets in, and no other; its name is told where that is
// asked for.
func TestClientCertificateOfTheCALetsIn(t *testing.T) {
	ca, other := newSigner(t, "clients"), newSigner(t, "clients")
	x := newRig(t, nil, gate.Rule{ClientCA: []*x509.Certificate{ca.cert}, Header: true})
	ask := serveTLS(t, x)
	uri, _ := url.Parse("spiffe://example.com/ada")
	for _, c := range []struct {
		what string
		by   *signer
		cert x509.Certificate
		user string
	}{
		{"the common name", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, DNSNames: []string{"x.test"}}, "ada"},
		{"an odd name", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada, ü\r\nX-Evil: 1"}}, "ada%2C %C3%BC%0D%0AX-Evil: 1"},
		{"an address", ca, x509.Certificate{EmailAddresses: []string{"ada@example.com"}}, "ada@example.com"},
		{"a host", ca, x509.Certificate{DNSNames: []string{"ada.example.com"}}, "ada.example.com"},
		{"a URI", ca, x509.Certificate{URIs: []*url.URL{uri}}, "spiffe://example.com/ada"},
		{"any use", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, "ada"},
		{"for servers", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ""},
		{"expired", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, ""},
		{"not yet", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)}, ""},
		{"another CA of the same name", other, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}}, ""},
		{"an extension that nobody knows", ca, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}}, ""},
	} {
		for range 2 {
			resp, _ := ask(c.by.client(c.cert), nil)
			if want := map[bool]int{true: 200, false: 401}[c.user != ""]; resp.StatusCode != want {
				t.Errorf("%s: %s", c.what, resp.Status)
			}
			if r, _ := x.last(); c.user != "" && r.Header.Get("X-Forwarded-User") != c.user {
				t.Errorf("%s: the service is told %q", c.what, r.Header.Get("X-Forwarded-User"))
			}
		}
	}
	if resp, _ := ask(nil, nil); resp.StatusCode != 401 {
		t.Errorf("without one: %s", resp.Status)
	}
	page := text(x.get("/", person))
	if !strings.Contains(page, "client certificate") || strings.Contains(page, "<form") {
		t.Errorf("the page is %s", page)
	}
}

// A certificate counts in a session of TLS that was resumed, as far as it is good now.
func TestResumedSessionIsVerifiedForNow(t *testing.T) {
	ca := newSigner(t, "clients")
	x := newRig(t, nil, gate.Rule{ClientCA: []*x509.Certificate{ca.cert}})
	ask := serveTLS(t, x)
	sessions := tls.NewLRUClientSessionCache(1)
	cert := ca.client(x509.Certificate{Subject: pkix.Name{CommonName: "ada"}})
	resumed := false
	for range 5 {
		resp, again := ask(cert, sessions)
		if resp.StatusCode != 200 {
			t.Fatalf("resumed %v: %s", again, resp.Status)
		}
		resumed = resumed || again
	}
	if !resumed {
		t.Skip("no session was resumed")
	}
	state := &tls.ConnectionState{DidResume: true, HandshakeComplete: true}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	state.PeerCertificates = []*x509.Certificate{leaf}
	state.VerifiedChains = [][]*x509.Certificate{{leaf, ca.cert}}
	in := func(r *http.Request) { r.TLS = state }
	x.want("the CA of before", x.get("/", in), http.StatusOK)
	// The rule's CA is another one from now on: the session of before proves nothing.
	next := newRig(t, x.store, gate.Rule{ClientCA: []*x509.Certificate{newSigner(t, "others").cert}})
	next.want("another CA", next.get("/", in), http.StatusUnauthorized)
}

// A chain through an intermediate is taken, and a long one is not.
func TestChainsOfClients(t *testing.T) {
	ca := newSigner(t, "root")
	between := &signer{t: t}
	between.cert, between.key = ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	x := newRig(t, nil, gate.Rule{ClientCA: []*x509.Certificate{ca.cert}})
	leaf, _ := between.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	shows := func(chain ...*x509.Certificate) change {
		return func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: chain} }
	}
	x.want("with the intermediate", x.get("/", shows(leaf, between.cert)), http.StatusOK)
	x.want("without it", x.get("/", shows(leaf)), http.StatusUnauthorized)
	long := []*x509.Certificate{leaf, between.cert}
	for range 20 {
		long = append(long, between.cert)
	}
	x.want("a long chain", x.get("/", shows(long...)), http.StatusUnauthorized)
	neighbour := header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors")
	x.want("for a neighbour's page", x.get("/", shows(leaf, between.cert), neighbour), http.StatusUnauthorized)
}

func TestParseCATakesCAsAlone(t *testing.T) {
	ca := newSigner(t, "clients")
	leaf := ca.client(x509.Certificate{Subject: pkix.Name{CommonName: "ada"}}).Certificate[0]
	block := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	if cas, err := gate.ParseCA([]byte("a comment\n  " + strings.ReplaceAll(block(ca.cert.Raw), "\n", "\n  ") + block(ca.cert.Raw))); err != nil || len(cas) != 2 {
		t.Errorf("%d CAs: %v", len(cas), err)
	}
	for what, text := range map[string]string{"nothing": "", "a client's": block(leaf), "no certificate": block([]byte("x"))} {
		if _, err := gate.ParseCA([]byte(text)); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// Addresses restrict who may try, and trusted ones need not sign in.
func TestAddressesRestrictAndTrust(t *testing.T) {
	passwords := users(t, "ada:wind")
	for _, c := range []struct {
		what    string
		rule    gate.Rule
		at      string
		in, out int // with a password, and without
	}{
		{"addresses alone", gate.Rule{Addresses: ranges("192.0.2.0/24")}, "192.0.2.1:1", 200, 200},
		{"addresses alone, from elsewhere", gate.Rule{Addresses: ranges("192.0.2.0/24")}, "198.51.100.1:1", 403, 403},
		{"addresses and passwords", gate.Rule{Addresses: ranges("192.0.2.0/24"), Passwords: passwords}, "192.0.2.1:1", 200, 401},
		{"addresses and passwords, from elsewhere", gate.Rule{Addresses: ranges("192.0.2.0/24"), Passwords: passwords}, "198.51.100.1:1", 403, 403},
		{"trusted", gate.Rule{TrustedAddresses: ranges("192.0.2.0/24"), Passwords: passwords}, "192.0.2.1:1", 200, 200},
		{"not trusted", gate.Rule{TrustedAddresses: ranges("192.0.2.0/24"), Passwords: passwords}, "198.51.100.1:1", 200, 401},
		{"trusted alone, from elsewhere", gate.Rule{TrustedAddresses: ranges("192.0.2.0/24")}, "198.51.100.1:1", 403, 403},
		{"trusted outside of the addresses", gate.Rule{TrustedAddresses: ranges("192.0.2.0/24"), Addresses: ranges("10.0.0.0/8")}, "192.0.2.1:1", 403, 403},
		{"IPv4 in IPv6", gate.Rule{TrustedAddresses: ranges("192.0.2.0/24"), Passwords: passwords}, "[::ffff:192.0.2.1]:1", 200, 200},
		{"IPv6", gate.Rule{TrustedAddresses: ranges("2001:db8::/32"), Passwords: passwords}, "[2001:db8::1]:1", 200, 200},
		{"IPv6 with a zone", gate.Rule{TrustedAddresses: ranges("fe80::/10"), Passwords: passwords}, "[fe80::1%eth0]:1", 200, 200},
		{"no address", gate.Rule{TrustedAddresses: ranges("0.0.0.0/0", "::/0"), Passwords: passwords}, "@", 200, 401},
		{"no address, restricted", gate.Rule{Addresses: ranges("0.0.0.0/0", "::/0"), Passwords: passwords}, "", 403, 403},
	} {
		x := newRig(t, nil, c.rule)
		x.want(c.what, x.get("/", from(c.at)), c.out)
		x.want(c.what+", with a password", x.get("/", basic("ada", "wind"), from(c.at)), c.in)
		if c.in == 403 {
			if c.rule.Passwords != nil {
				x.want(c.what+", the page to sign in on", x.get(signInPath, person, from(c.at)), 403)
			}
			resp := x.post(signInPath, url.Values{"user": {"ada"}, "password": {"wind"}}, from(c.at))
			if len(resp.Cookies()) > 0 {
				t.Errorf("%s signs in", c.what)
			}
		}
	}
	for _, spoof := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded"} {
		x := newRig(t, nil, gate.Rule{TrustedAddresses: ranges("192.0.2.0/24"), Passwords: passwords})
		x.want(spoof, x.get("/", from("198.51.100.1:1"), header(spoof, "192.0.2.1")), 401)
	}
}

// Rules that make no sense are told by their number.
func TestRulesThatMakeNoSenseAreTold(t *testing.T) {
	passwords := users(t, "ada:wind")
	for what, rules := range map[string][]gate.Rule{
		"no way in":           {{Passwords: passwords}, {Paths: []string{"/x"}}},
		"a path twice":        {{Paths: []string{"/x"}, Passwords: passwords}, {Paths: []string{"/x/"}, Links: true}},
		"no slash":            {{Passwords: passwords}, {Paths: []string{"x"}, Passwords: passwords}},
		"an empty path":       {{Passwords: passwords}, {Paths: []string{""}, Passwords: passwords}},
		"dots":                {{Passwords: passwords}, {Paths: []string{"/a/../b"}, Passwords: passwords}},
		"two slashes":         {{Passwords: passwords}, {Paths: []string{"/a//b"}, Passwords: passwords}},
		"a query":             {{Passwords: passwords}, {Paths: []string{"/a?b"}, Passwords: passwords}},
		"a dot at the end":    {{Passwords: passwords}, {Paths: []string{"/a."}, Passwords: passwords}},
		"everything, twice":   {{Passwords: passwords}, {Links: true}},
		"everything, spelled": {{Passwords: passwords}, {Paths: []string{"/"}, Links: true}},
	} {
		_, err := gate.New(gate.Config{Name: name, Store: open(t, ""), Rules: rules})
		if err == nil || !strings.HasPrefix(err.Error(), "gate 2 of "+name+": ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, wrong := range []string{"", "XYZ.relay.test", "xyz.relay.test.", "a b"} {
		if _, err := gate.New(gate.Config{Name: wrong, Store: open(t, "")}); err == nil {
			t.Errorf("%q is a name", wrong)
		}
	}
}

// The rule with the longest path decides, and where the case of letters may matter or
// not, both do.
func TestLongestPathDecides(t *testing.T) {
	anyone := ranges("0.0.0.0/0")
	x := newRig(t, nil,
		gate.Rule{Passwords: users(t, "ada:wind")},
		gate.Rule{Paths: []string{"/public", "/docs/open"}, Addresses: anyone},
		gate.Rule{Paths: []string{"/public/secret"}, Passwords: users(t, "bob:rain")},
	)
	for path, want := range map[string][3]int{ // nobody, ada, bob
		"/":                {401, 200, 401},
		"/public":          {200, 200, 200},
		"/public/":         {200, 200, 200},
		"/public/x":        {200, 200, 200},
		"/publicity":       {401, 200, 401},
		"/docs":            {401, 200, 401},
		"/docs/open/x":     {200, 200, 200},
		"/public/secret":   {401, 401, 200},
		"/public/secret/x": {401, 401, 200},
		"/PUBLIC/x":        {401, 200, 401}, // perhaps another place than /public, and not open
		"/public/SECRET":   {401, 401, 200}, // perhaps the same place
		"/PUBLIC/SECRET":   {401, 401, 401}, // both
	} {
		for i, in := range []change{header(), basic("ada", "wind"), basic("bob", "rain")} {
			at := from(net.JoinHostPort("192.0.2."+string(rune('1'+i)), "1"))
			x.want(path, x.get(path, in, at), want[i])
		}
	}
}
