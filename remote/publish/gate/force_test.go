package gate_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"testing"

	"keystay/remote/publish/gate"
)

// A request that a gate has let in and that runs on ends with the rule that let it in, whatever that
// was by, and with nothing else. The gate of before lets nobody in any more whom the one
// in force does not.
func TestAGateInForceEndsWhatItWouldNotLetIn(t *testing.T) {
	ca, other := newSigner(t, "clients"), newSigner(t, "others")
	leaf, _ := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	passwords := lines(t, "ada:wind", "bob:rain")
	both, bob := parse(t, passwords...), parse(t, passwords[1])
	cas, others := []*x509.Certificate{ca.cert}, []*x509.Certificate{other.cert}
	shows := func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}} }
	here, there := ranges("192.0.2.0/24"), ranges("198.51.100.0/24")
	for _, c := range []struct {
		what   string
		before gate.Rule
		by     change
		after  []gate.Rule
		stays  bool
	}{
		{"a password, and no such user", gate.Rule{Passwords: both}, basic("ada", "wind"), []gate.Rule{{Passwords: bob}}, false},
		{"a password, and another user less", gate.Rule{Passwords: both}, basic("bob", "rain"), []gate.Rule{{Passwords: bob}}, true},
		{"a password, and no passwords", gate.Rule{Passwords: both}, basic("ada", "wind"), []gate.Rule{{Links: true}}, false},
		{"a password, and other addresses", gate.Rule{Passwords: both}, basic("ada", "wind"), []gate.Rule{{Passwords: both, Addresses: there}}, false},
		{"a password, and its address", gate.Rule{Passwords: both}, basic("ada", "wind"), []gate.Rule{{Passwords: both, Addresses: here}}, true},
		{"a password, and other paths", gate.Rule{Passwords: both}, basic("ada", "wind"), []gate.Rule{{Passwords: both, Paths: []string{"/x"}}}, false},
		{"a password, and no gate", gate.Rule{Passwords: both}, basic("ada", "wind"), nil, true},
		{"a certificate, and another CA", gate.Rule{ClientCA: cas}, shows, []gate.Rule{{ClientCA: others}}, false},
		{"a certificate, and a CA more", gate.Rule{ClientCA: cas}, shows, []gate.Rule{{ClientCA: append(others, cas...)}}, true},
		{"a trusted address, and another one", gate.Rule{Passwords: both, TrustedAddresses: here}, header(), []gate.Rule{{Passwords: both, TrustedAddresses: there}}, false},
		{"a trusted address, and one more", gate.Rule{Passwords: both, TrustedAddresses: here}, header(), []gate.Rule{{Passwords: both, TrustedAddresses: append(there, here...)}}, true},
		{"an address, and passwords beside", gate.Rule{Addresses: here}, header(), []gate.Rule{{Addresses: here, Passwords: both}}, false},
	} {
		x := newRig(t, nil, c.before)
		ended, ending := make(chan bool), make(chan struct{})
		runs := make(chan struct{})
		long := &rig{t: t, handler: x.gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(runs)
			<-ending
			ended <- r.Context().Err() != nil
		}))}
		go long.get("/events", c.by)
		<-runs
		g, err := gate.New(gate.Config{Name: name, Store: x.store, Rules: c.after})
		if err != nil {
			t.Fatal(err)
		}
		g.Wrap(http.NotFoundHandler())
		close(ending)
		if <-ended == c.stays {
			t.Errorf("%s: it stays: %v", c.what, !c.stays)
		}
		// A request that the gate of before sees only now.
		if resp := x.get("/", c.by); resp.StatusCode == http.StatusOK != c.stays {
			t.Errorf("%s: the gate of before says %s", c.what, resp.Status)
		}
	}
}

// So it does where another rule is for the path by then, or the first one.
func TestAGateInForceEndsWhatItHasAnotherRuleFor(t *testing.T) {
	all, secret := users(t, "ada:wind"), users(t, "root:storm")
	old, added := gate.Rule{Passwords: all}, gate.Rule{Paths: []string{"/secret"}, Passwords: secret}
	elsewhere := gate.Rule{Paths: []string{"/x"}, Passwords: secret}
	for _, c := range []struct {
		method, path  string
		before, after []gate.Rule
		by            change
		stays         bool
	}{
		{"GET", "/secret/events", []gate.Rule{old}, []gate.Rule{old, added}, header(), false},
		{"GET", "/Secret/events", []gate.Rule{old}, []gate.Rule{old, added}, header(), false},
		{"GET", "/events", []gate.Rule{old}, []gate.Rule{old, added}, header(), true},
		{"COPY", "/open", []gate.Rule{old}, []gate.Rule{old, added}, header("Destination", "https://"+name+"/secret/x"), false},
		{"COPY", "/", []gate.Rule{old}, []gate.Rule{old, added}, header(), false},
		{"GET", "/secret/events", []gate.Rule{elsewhere}, []gate.Rule{elsewhere, added}, header(), false},
		{"GET", "/events", []gate.Rule{elsewhere}, []gate.Rule{elsewhere, added}, header(), true},
		{"GET", "/events", []gate.Rule{elsewhere}, nil, header(), true},
	} {
		x := newRig(t, nil, c.before...)
		ended, ending, runs := make(chan bool), make(chan struct{}), make(chan struct{})
		long := &rig{t: t, handler: x.gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(runs)
			<-ending
			ended <- r.Context().Err() != nil
		}))}
		go long.do(c.method, c.path, nil, basic("ada", "wind"), c.by)
		<-runs
		g, err := gate.New(gate.Config{Name: name, Store: x.store, Rules: c.after})
		if err != nil {
			t.Fatal(err)
		}
		g.Wrap(http.NotFoundHandler())
		close(ending)
		if <-ended == c.stays {
			t.Errorf("%s %s: it stays: %v", c.method, c.path, !c.stays)
		}
		if resp := x.do(c.method, c.path, nil, basic("ada", "wind"), c.by); resp.StatusCode == http.StatusOK != c.stays {
			t.Errorf("%s %s: the gate of before says %s", c.method, c.path, resp.Status)
		}
	}
}

// A sign-out ends a request that was being let in meanwhile, too.
func TestASignOutIsNotOvertaken(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	cookies := x.signIn("ada", "wind", "/")
	ended := gate.EndBeforeWatch(x.gate, cookies[0].Value)
	if !ended {
		t.Error("a request of a session that has ended is let in")
	}
}
