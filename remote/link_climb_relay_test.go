package remote_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

// A street is one address with many names, as a relay's wildcard record makes
// it: what answers depends on the server name of the hello.
type street struct {
	t   *testing.T
	ca  *testca.CA
	ln  net.Listener
	log *bytes.Buffer // only read after the remote has ended

	mu     sync.Mutex
	houses map[string]func(net.Conn, *tls.Config)
	asked  []string        // server names, in their order
	claims []framing.Claim // with the house before the name: HOUSE/NAME
	wg     sync.WaitGroup
}

func newStreet(t *testing.T, houses map[string]func(*street, string) func(net.Conn, *tls.Config)) *street {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &street{t: t, ca: testca.New(t), ln: ln, log: new(bytes.Buffer), houses: make(map[string]func(net.Conn, *tls.Config))}
	for name, house := range houses {
		s.houses[name] = house(s, name)
	}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.enter(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); s.wg.Wait() })
	return s
}

// enter reads the hello and lets the house of its name answer.
func (s *street) enter(c net.Conn) {
	defer c.Close()
	var replay bytes.Buffer
	var hello *tls.ClientHelloInfo
	peek := tls.Server(teeConn{c, &replay}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, errors.New("peeked")
	}})
	if peek.Handshake(); hello == nil {
		return
	}
	s.mu.Lock()
	if n := len(s.asked); n == 0 || s.asked[n-1] != hello.ServerName {
		s.asked = append(s.asked, hello.ServerName)
	}
	house := s.houses[hello.ServerName]
	s.mu.Unlock()
	if house == nil {
		c.Write([]byte{21, 3, 3, 0, 2, 2, 112}) // unrecognized_name
		return
	}
	house(replayConn{c, &replay}, &tls.Config{Certificates: []tls.Certificate{s.ca.Issue(hello.ServerName)}})
}

// A teeConn keeps what it reads and writes nothing.
type teeConn struct {
	net.Conn
	read *bytes.Buffer
}

func (c teeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Write(p[:n])
	return n, err
}
func (c teeConn) Write(p []byte) (int, error) { return len(p), nil }

// A replayConn reads again what was read before.
type replayConn struct {
	net.Conn
	before *bytes.Buffer
}

func (c replayConn) Read(p []byte) (int, error) {
	if c.before.Len() > 0 {
		return c.before.Read(p)
	}
	return c.Conn.Read(p)
}

// aRelay answers as a relay that grants every name, for a token if it wants one.
func aRelay(token string) func(*street, string) func(net.Conn, *tls.Config) {
	return func(s *street, name string) func(net.Conn, *tls.Config) {
		return func(c net.Conn, config *tls.Config) {
			config.NextProtos = []string{framing.Protocol}
			link, _, err := framing.Server(s.t.Context(), tls.Server(c, config))
			if err != nil {
				return
			}
			defer link.Close()
			link.Welcome(framing.Welcome{PublicPort: 443}, framing.Handler{Claim: func(c framing.Claim) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.claims = append(s.claims, framing.Claim{Name: name + "/" + c.Name, Token: c.Token})
				if c.Token != token && token != "" {
					return &framing.Denial{Code: framing.DeniedToken, Text: "this relay asks for a token"}
				}
				return nil
			}})
			<-link.Done()
		}
	}
}

// aWebsite knows HTTP alone.
func aWebsite(*street, string) func(net.Conn, *tls.Config) {
	return func(c net.Conn, config *tls.Config) {
		config.NextProtos = []string{"h2", "http/1.1"}
		tc := tls.Server(c, config)
		if tc.Handshake() == nil {
			tc.Write([]byte("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"))
			tc.Close()
		}
	}
}

// aReset ends connections without a word, as a relay may that has too much to do.
func aReset(*street, string) func(net.Conn, *tls.Config) {
	return func(c net.Conn, _ *tls.Config) { c.(replayConn).Conn.(*net.TCPConn).SetLinger(0) }
}

// noCertificate is a relay that waits for its own certificate.
func noCertificate(*street, string) func(net.Conn, *tls.Config) {
	return func(c net.Conn, _ *tls.Config) { c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }
}

// untrusted is a relay whose certificate cannot be verified.
func untrusted(s *street, name string) func(net.Conn, *tls.Config) {
	other := testca.New(s.t)
	return func(c net.Conn, _ *tls.Config) {
		config := &tls.Config{Certificates: []tls.Certificate{other.Issue(name)}, NextProtos: []string{framing.Protocol}}
		tls.Server(c, config).Handshake()
	}
}

func (s *street) listen(change func(*remote.Config)) *remote.Listener {
	s.t.Helper()
	cfg := remote.Config{
		Domain:         "app.team.relay.test",
		RelayAddresses: []string{s.ln.Addr().String()},
		Links:          1,
		Proxy:          none,
		RelayRoots:     s.ca.Pool(),
		TLS:            &tls.Config{Certificates: []tls.Certificate{s.ca.Issue("app.team.relay.test")}},
		Logger:         slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	}
	change(&cfg)
	if cfg.StateDir == "" {
		cfg.StateDir = s.t.TempDir()
	}
	ln, err := remote.Listen(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { end(ln) })
	return ln
}

// visited returns who was asked, in this order, and the claims.
func (s *street) visited() (asked string, claims []framing.Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, claims = strings.Join(s.asked, " "), s.claims
	s.asked, s.claims = nil, nil
	return asked, claims
}

type houses = map[string]func(*street, string) func(net.Conn, *tls.Config)

// Whoever holds a name above another one cannot pass for its relay: the climb
// begins at the registrable domain, and goes on below it only when what is there
// has shown that it is no relay.
func TestHolderOfTheParentIsNotTheRelay(t *testing.T) {
	for name, c := range map[string]struct {
		houses houses
		serves string // the house that gets the claim, or "" for none
		asked  string
	}{
		"the relay answers":                {houses{"relay.test": aRelay(""), "team.relay.test": aRelay("")}, "relay.test", "relay.test"},
		"the relay wants a token":          {houses{"relay.test": aRelay("sesame"), "team.relay.test": aRelay("")}, "relay.test", "relay.test"},
		"the relay resets":                 {houses{"relay.test": aReset, "team.relay.test": aRelay("")}, "", "relay.test"},
		"the relay waits for certificates": {houses{"relay.test": noCertificate, "team.relay.test": aRelay("")}, "", "relay.test"},
		"the relay is not trusted":         {houses{"relay.test": untrusted, "team.relay.test": aRelay("")}, "", "relay.test"},
		"a website stands above":           {houses{"relay.test": aWebsite, "team.relay.test": aRelay("")}, "team.relay.test", "relay.test team.relay.test"},
		"nobody knows the name above":      {houses{"team.relay.test": aRelay("")}, "team.relay.test", "relay.test team.relay.test"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, c.houses)
			ln := s.listen(func(cfg *remote.Config) { cfg.Token = "victims-token" })
			if c.serves == "" {
				s.failed(ln)
			} else if err := wait(t, ln); err != nil && !errors.As(err, new(*framing.Denial)) {
				t.Fatal(err)
			}
			asked, claims := s.visited()
			if asked != c.asked {
				t.Errorf("asked %q, want %q", asked, c.asked)
			}
			if c.serves == "" {
				if len(claims) > 0 {
					t.Errorf("claimed %+v", claims)
				}
				return
			}
			if len(claims) != 1 || claims[0].Name != c.serves+"/app.team.relay.test" {
				t.Fatalf("claims %+v, want one at %s", claims, c.serves)
			}
			if got := claims[0].Token; (got != "") != (c.serves == "relay.test") {
				t.Errorf("%s was told the token %q", c.serves, got)
			}
		})
	}
}

// failed waits for the end of the first attempt.
func (s *street) failed(ln *remote.Listener) {
	s.t.Helper()
	for {
		err := ln.Wait(expired())
		if err == nil {
			s.t.Error("the name answers")
			return
		}
		if !strings.Contains(err.Error(), "no session yet") {
			return
		}
	}
}

// A token is for a relay that was named, now or when it gave the name before.
func TestTokenIsForTheRelayThatWasNamed(t *testing.T) {
	s := newStreet(t, houses{"relay.test": aWebsite, "team.relay.test": aRelay("sesame")})
	dir := t.TempDir()
	start := func(relays ...string) (told string, err error) {
		ln := s.listen(func(cfg *remote.Config) { cfg.StateDir, cfg.Token, cfg.Relays = dir, "sesame", relays })
		err = wait(t, ln)
		end(ln)
		_, claims := s.visited()
		if len(claims) != 1 {
			t.Fatalf("claims %+v", claims)
		}
		return claims[0].Token, err
	}
	var withheld *remote.WithheldError
	if told, err := start(); told != "" || !errors.As(err, &withheld) || withheld.Relay != "team.relay.test" {
		t.Errorf("found: told %q, %v", told, err)
	}
	if told, err := start("team.relay.test"); told != "sesame" || err != nil {
		t.Errorf("named: told %q, %v", told, err)
	}
	if told, err := start(); told != "sesame" || err != nil {
		t.Errorf("named before: told %q, %v", told, err)
	}
}

// A relay that has given a name once is asked for that name alone, and no climb
// begins again: not for it, and for another name it proves nothing.
func TestRememberedRelayIsBoundToItsName(t *testing.T) {
	s := newStreet(t, houses{"relay.test": aRelay(""), "team.relay.test": aRelay("")})
	dir := t.TempDir()
	start := func(domain string, relays ...string) (asked string) {
		ln := s.listen(func(cfg *remote.Config) { cfg.StateDir, cfg.Domain, cfg.Relays = dir, domain, relays })
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
		end(ln)
		asked, _ = s.visited()
		return asked
	}
	const app, other = "app.team.relay.test", "other.team.relay.test"
	for _, step := range []struct {
		domain, relay, asks string
	}{
		{app, "team.relay.test", "team.relay.test"},
		{app, "", "team.relay.test"},
		{other, "", "relay.test"},
		{other, "", "relay.test"},
		{app, "relay.test", "relay.test"}, // what is given wins
		{app, "", "relay.test"},
	} {
		var relays []string
		if step.relay != "" {
			relays = []string{step.relay}
		}
		if got := start(step.domain, relays...); got != step.asks {
			t.Errorf("%s with relay %q asked %q, want %q", step.domain, step.relay, got, step.asks)
		}
	}
}

// Without a name the last one is served again: of the service, or the only one.
func TestLastNameIsServedAgain(t *testing.T) {
	s := newStreet(t, houses{"relay.test": aRelay(""), "two.test": aRelay("")})
	dir := t.TempDir()
	start := func(domain, relay, service string) (string, error) {
		cfg := remote.Config{StateDir: dir, Domain: domain, Service: service, RelayAddresses: []string{s.ln.Addr().String()}, Links: 1,
			RelayRoots: s.ca.Pool(), Proxy: none, TLS: &tls.Config{}}
		if relay != "" {
			cfg.Relays = []string{relay}
		}
		ln, err := remote.Listen(cfg)
		if err != nil {
			return "", err
		}
		defer end(ln)
		return ln.Domain(), wait(t, ln)
	}
	made, err := start("", "two.test", "3000")
	if err != nil || !strings.HasSuffix(made, ".two.test") {
		t.Fatalf("%s, %v", made, err)
	}
	for _, step := range []struct{ domain, relay, service, want string }{
		{"", "", "3000", made},
		{"", "", "4000", made}, // the only one
		{"xyz.relay.test", "", "3000", "xyz.relay.test"},
		{"", "", "3000", "xyz.relay.test"},
		{"", "two.test", "3000", made}, // a relay alone: the name from the key
		{"", "", "3000", made},
		{"abc.relay.test", "", "5000", "abc.relay.test"},
		{"", "", "5000", "abc.relay.test"},
		{"", "", "3000", made},
	} {
		if got, err := start(step.domain, step.relay, step.service); got != step.want || err != nil {
			t.Errorf("%+v: %s, %v", step, got, err)
		}
	}
	var ambiguous *remote.AmbiguousError
	if _, err := start("", "", "6000"); !errors.As(err, &ambiguous) || len(ambiguous.Names) != 3 {
		t.Errorf("a new service: %v", err)
	}
	// Another identity has another name from its key.
	os.Remove(filepath.Join(dir, "identity.pem"))
	if got, err := start("", "", "3000"); got == made || !strings.HasSuffix(got, ".two.test") || err != nil {
		t.Errorf("another identity: %s, %v", got, err)
	}
}

// What cannot be read is not remembered.
func TestRememberedIsDamaged(t *testing.T) {
	s := newStreet(t, houses{"relay.test": aRelay("")})
	long, _ := json.Marshal(map[string]any{"relays": []string{strings.Repeat("x", 16<<10)}})
	for name, content := range map[string]string{"empty": "", "text": "relay.test\n", "no relays": `{"relays":[]}`, "no name": `{"relays":[""]}`, "long": string(long)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			os.Mkdir(filepath.Join(dir, "names"), 0o700)
			if err := os.WriteFile(filepath.Join(dir, "names", "app.team.relay.test.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := remote.Listen(remote.Config{StateDir: dir}); !errors.Is(err, remote.ErrNoRelay) {
				t.Errorf("without a name: %v", err)
			}
			if err := wait(t, s.listen(func(cfg *remote.Config) { cfg.StateDir = dir })); err != nil {
				t.Error(err)
			}
		})
	}
}
