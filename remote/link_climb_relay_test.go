package remote_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

// A street is one address with many names, as a relay's wildcard record makes
// it: what answers depends on the server name of the hello.
type street map[string]answer

// newStreet starts a relay that answers for these names alone, and asks for a
// token if there is one.
func newStreet(t *testing.T, token string, names street) *fakeRelay {
	r := newRelay(t, func(r *fakeRelay) { r.answers, r.strangers = names, alert(112) })
	r.set(nil, func(_, told string) error {
		if told != token && token != "" {
			return &framing.Denial{Code: framing.DeniedToken, Text: "this relay asks for a token"}
		}
		return nil
	})
	return r
}

// aWebsite knows HTTP alone.
var aWebsite = speaking(nil, "h2", web)

// below is a name two levels below the relay.
const below = "app.team.relay.test"

// startBelow starts a remote for that name.
func (r *fakeRelay) startBelow(change func(*remote.Config)) *remote.Listener {
	return r.start(func(cfg *remote.Config) {
		cfg.Domain, cfg.TLS = below, &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(below)}}
		change(cfg)
	})
}

// Whoever holds a name above another one cannot pass for its relay: the climb
// begins at the registrable domain, and goes on below it only when what is there
// has shown that it is no relay.
func TestHolderOfTheParentIsNotTheRelay(t *testing.T) {
	for name, c := range map[string]struct {
		names  street
		token  string
		serves string // the relay that gets the claim, or "" for none
		asked  string
	}{
		"the relay answers":                {street{"relay.test": asRelay, "team.relay.test": asRelay}, "", "relay.test", "relay.test"},
		"the relay wants a token":          {street{"relay.test": asRelay, "team.relay.test": asRelay}, "sesame", "relay.test", "relay.test"},
		"the relay resets":                 {street{"relay.test": reset, "team.relay.test": asRelay}, "", "", "relay.test"},
		"the relay waits for certificates": {street{"relay.test": alert(80), "team.relay.test": asRelay}, "", "", "relay.test"},
		"the relay is not trusted":         {street{"relay.test": speaking(testca.New(t), raw), "team.relay.test": asRelay}, "", "", "relay.test"},
		"a website stands above":           {street{"relay.test": aWebsite, "team.relay.test": asRelay}, "", "team.relay.test", "relay.test team.relay.test"},
		"nobody knows the name above":      {street{"team.relay.test": asRelay}, "", "team.relay.test", "relay.test team.relay.test"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreet(t, c.token, c.names)
			ln := s.startBelow(func(cfg *remote.Config) { cfg.Token = "victims-token" })
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
			if len(claims) != 1 || claims[0].relay != c.serves || claims[0].name != below {
				t.Fatalf("claims %+v, want one at %s", claims, c.serves)
			}
			if got := claims[0].token; (got != "") != (c.serves == "relay.test") {
				t.Errorf("%s was told the token %q", c.serves, got)
			}
		})
	}
}

// failed waits for the end of the first attempt.
func (r *fakeRelay) failed(ln *remote.Listener) {
	r.t.Helper()
	for {
		err := ln.Wait(expired())
		if err == nil {
			r.t.Error("the name answers")
			return
		}
		if !strings.Contains(err.Error(), "no session yet") {
			return
		}
	}
}

// A token is for a relay that was named, now or when it gave the name before.
func TestTokenIsForTheRelayThatWasNamed(t *testing.T) {
	s := newStreet(t, "sesame", street{"relay.test": aWebsite, "team.relay.test": asRelay})
	dir := t.TempDir()
	start := func(relays ...string) (told string, err error) {
		ln := s.startBelow(func(cfg *remote.Config) { cfg.StateDir, cfg.Token, cfg.Relays = dir, "sesame", relays })
		err = wait(t, ln)
		end(ln)
		_, claims := s.visited()
		if len(claims) != 1 {
			t.Fatalf("claims %+v", claims)
		}
		return claims[0].token, err
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
	s := newStreet(t, "", street{"relay.test": asRelay, "team.relay.test": asRelay})
	dir := t.TempDir()
	start := func(domain string, relays ...string) (asked string) {
		ln := s.startBelow(func(cfg *remote.Config) { cfg.StateDir, cfg.Domain, cfg.Relays = dir, domain, relays })
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
		end(ln)
		asked, _ = s.visited()
		return asked
	}
	const app, other = below, "other.team.relay.test"
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
	s := newStreet(t, "", street{"relay.test": asRelay, "two.test": asRelay})
	dir := t.TempDir()
	start := func(domain, relay, service string) (string, error) {
		cfg := remote.Config{StateDir: dir, Domain: domain, Service: service, RelayAddresses: []string{s.addr}, Links: 1,
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

// What is damaged is not remembered, and no reason to look for no relay.
func TestRememberedIsDamaged(t *testing.T) {
	s := newStreet(t, "", street{"relay.test": asRelay})
	long, _ := json.Marshal(map[string]any{"relays": []string{strings.Repeat("x", 16<<10)}})
	for name, content := range map[string]string{"empty": "", "text": "relay.test\n", "no relays": `{"relays":[]}`, "no name": `{"relays":[""]}`, "long": string(long)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			os.Mkdir(filepath.Join(dir, "names"), 0o700)
			if err := os.WriteFile(filepath.Join(dir, "names", "app.team.relay.test.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var damaged *remote.DamagedError
			if _, err := remote.Listen(remote.Config{StateDir: dir}); !errors.As(err, &damaged) || damaged.Name != "app.team.relay.test" {
				t.Errorf("without a name: %v", err)
			}
			ln := s.startBelow(func(cfg *remote.Config) { cfg.StateDir = dir })
			if err := wait(t, ln); err != nil {
				t.Error(err)
			}
			if err := ln.Shutdown(t.Context()); err != nil { // else it writes to dir after its end
				t.Error(err)
			}
		})
	}
}
