package names_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

// A world is a relay with names and tokens of others, as somebody finds it who wants
// what is theirs.
type world struct {
	*rig
	t                *testing.T
	dns              *fakeDNS
	victim, attacker identity
	tokens           map[string]string // secrets, by what has become of them
	meanwhile        func()            // while the attacker's claim is decided outside; nil is nothing
}

// theirs are the names of the victim, each with a name below it that nobody has.
var theirs = []string{"shop.relay.test", "deep.team.relay.test", "a.b.c.relay.test", "app.victim.test", "sub.app.victim.test", "xn--bcher-kva.victim.test"}

func newWorld(t *testing.T, p names.Policy) *world {
	w := &world{t: t, victim: newIdentity(t), attacker: newIdentity(t), tokens: make(map[string]string)}
	w.rig, w.dns, _ = newDomainRig(t, func(n *names.Names) {
		n.Tokens = []names.Token{{Secret: "of the victim", Names: []string{"*.relay.test"}}, {Secret: "", Names: []string{"*.relay.test"}},
			{Secret: "for another name", Names: []string{"another.relay.test"}}}
		n.Reserved = []string{"bank*"}
		n.Ask = func(_ context.Context, c names.Claimant) error {
			if w.meanwhile != nil && public(w.attacker).Equal(c.Key) {
				w.meanwhile()
			}
			return nil
		}
	})
	for _, name := range theirs {
		w.dns.name(name, w.victim)
		w.must(w.claim(w.victim, name, "of the victim"))
	}
	w.must(w.claim(w.victim, "gone.relay.test", "of the victim"))
	w.must(w.names.Release("gone.relay.test", public(w.victim)))
	w.must(w.claim(w.victim, "taken.relay.test", "of the victim"))
	_, err := w.names.Take("taken.relay.test", "phishing", false)
	w.must(err)
	w.must(w.claim(w.victim, "old.relay.test", "of the victim"))
	w.must(w.grants().Backdate("old.relay.test", names.GrantTime+time.Hour))
	for what, info := range map[string]names.TokenInfo{
		"revoked": {}, "expired": {Expires: time.Now().Add(-time.Hour)}, "used up": {Uses: 1}, "bound": {Bind: true},
	} {
		info.Names = []string{"*.free.relay.test"}
		secret, made, err := w.names.CreateToken(info)
		w.must(err)
		w.tokens[what] = secret
		switch what {
		case "revoked":
			_, err = w.names.RevokeToken(made.ID, false)
		case "used up", "bound":
			err = w.claim(w.victim, strings.ReplaceAll(what, " ", "-")+".free.relay.test", secret)
		}
		w.must(err)
	}
	for _, b := range []names.Ban{{Kind: names.BanName, Of: "bad.relay.test"}, {Kind: names.BanName, Of: "bad.example.test"}, {Kind: names.BanAddress, Of: "192.0.2.0/24"}} {
		_, err := w.names.Ban(b)
		w.must(err)
	}
	rules := w.names.Rules
	rules.Policy = p
	w.names.SetRules(rules)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// An attempt is a claim of a name that is not the attacker's.
type attempt struct {
	name, token string
	from        string                         // an address; "" is none
	before      func(*world)                   // what the attacker does first
	meanwhile   func(*world)                   // what others do while the claim is decided
	policy      names.Policy                   // "" is open
	key         func(*world) ed25519.PublicKey // nil is the attacker's
}

// plain reports whether the attempt changes nothing of a world, if it fails.
func (a *attempt) plain() bool { return a.before == nil && a.meanwhile == nil }

// run makes the attempt in a world, and checks that it gives the attacker nothing.
func (a *attempt) run(t *testing.T, w *world) {
	if a.before != nil {
		a.before(w)
	}
	if a.meanwhile != nil {
		once := func() { w.meanwhile = nil; a.meanwhile(w) }
		w.meanwhile = once
		w.dns.meet = func(string) {
			if w.meanwhile != nil {
				once()
			}
		}
	}
	label := func(id identity) string { return keyname.Label(public(id), "") }
	name := strings.NewReplacer("{victim}", label(w.victim), "{attacker}", label(w.attacker)).Replace(a.name)
	c := names.Claimant{Name: name, Key: public(w.attacker), Token: a.token}
	if stolen, ok := w.tokens[a.token]; ok {
		c.Token = stolen
	}
	if a.key != nil {
		c.Key = a.key(w)
	}
	if a.from != "" {
		c.Source = netip.MustParseAddr(a.from)
	}
	_, err := w.names.Claim(t.Context(), c)
	var d *names.Denied
	if !errors.As(err, &d) {
		t.Errorf("the claim of %q: %v", name, err)
	}
	if w.meanwhile != nil {
		t.Error("nothing has happened while it was decided")
	}
	list, _, _, err := w.names.List(names.Filter{Identity: label(w.attacker)}, "", 100)
	for _, g := range list {
		if !strings.HasPrefix(g.Name, "own.") || g.Name == name {
			t.Errorf("the attacker has %s", g.Name)
		}
	}
	if err != nil {
		t.Error(err)
	}
	for _, name := range theirs {
		if key, err := w.grants().Holder(name); err != nil || !public(w.victim).Equal(asKey(key)) {
			t.Errorf("the victim has lost %s: %v", name, err)
		}
	}
}

// attempts returns them by what they are.
func attempts() map[string]attempt {
	all := make(map[string]attempt)
	for _, name := range theirs {
		label, rest, _ := strings.Cut(name, ".")
		for what, claimed := range map[string]string{
			"the name":              name,
			"below it":              "new." + name,
			"far below it":          "x.y.new." + name,
			"in capitals":           strings.ToUpper(name),
			"mixed case":            strings.ToUpper(label[:1]) + name[1:],
			"with a dot":            name + ".",
			"with two dots":         name + "..",
			"a dot in front":        "." + name,
			"an empty label":        label + ".." + rest,
			"a space":               name + " ",
			"a NUL":                 name + "\x00",
			"a NUL in it":           label + "\x00." + rest,
			"a wildcard":            "*." + name,
			"a wildcard in a label": "a*." + name,
			"an underscore":         "_acme-challenge." + name,
			"keystay's own label":   "_keystay." + name,
			"a full-width dot":      strings.Replace(name, ".", "。", 1),
			"a soft hyphen":         label + "\u00ad." + rest,
			"a port":                name + ":443",
			"a slash":               name + "/",
		} {
			all[what+" of "+name] = attempt{name: claimed}
		}
		all["the name with a token of "+name] = attempt{name: name, token: "of the victim", policy: names.WithToken}
		all["below it with a token of "+name] = attempt{name: "new." + name, token: "of the victim", policy: names.WithToken}
	}
	for what, name := range map[string]string{
		"the relay": "relay.test", "the relay in capitals": "RELAY.TEST", "the relay with a dot": "relay.test.", "above the relay": "test",
		"the root": "", "a dot": ".", "the parent of a name": "team.relay.test", "the grandparent of a name": "c.relay.test", "between": "b.c.relay.test",
		"the parent of a custom domain": "victim.test", "a sibling of a custom domain": "www.victim.test", "an address": "192.0.2.1", "an IPv6 address": "[2001:db8::1]",
		"a number": "1.2", "everything": "*", "everything below the relay": "*.relay.test", "a name of one part": "localhost",
		"an underscore": "_acme-challenge.relay.test", "a service": "_https._tcp.relay.test", "DKIM": "_domainkey.relay.test", "keystay's own label": "_keystay.relay.test", "DMARC": "_dmarc.relay.test",
		"www": "www.relay.test", "www with a number": "www2.relay.test", "below www": "x.www.relay.test", "admin": "admin.relay.test", "autoconfig": "autoconfig.relay.test", "wpad": "wpad.relay.test", "mta-sts": "mta-sts.relay.test",
		"a pattern of the operator": "bank-of-x.relay.test", "below a pattern of the operator": "login.bank.relay.test",
		"a look-alike of the relay": "re1ay.relay.test", "a look-alike in Cyrillic": "xn--rlay-v4d.relay.test", "a look-alike of mail": "rnail.relay.test", "a look-alike of login": "1ogin.relay.test",
		"a released name": "gone.relay.test", "below a released name's capitals": "GONE.relay.test", "a name that was taken back": "taken.relay.test", "an expired name": "old.relay.test",
		"a banned name": "bad.relay.test", "below a banned name": "x.bad.relay.test", "far below a banned name": "x.y.bad.relay.test", "a banned domain": "bad.example.test", "below a banned domain": "x.bad.example.test",
		"bad Punycode": "xn--a.relay.test", "Punycode that decodes to ASCII": "xn--shop-.relay.test", "Punycode in capitals": "XN--BCHER-KVA.victim.test", "a name in Unicode": "bücher.victim.test",
		"a name in decomposed Unicode": "bu\u0308cher.victim.test",
		"too long a label":             strings.Repeat("a", 64) + ".relay.test", "too long a name": strings.Repeat(strings.Repeat("a", 62)+".", 4) + "relay.test",
		"a hyphen in front": "-shop.relay.test", "a hyphen at the end": "shop-.relay.test", "a zone that only ends alike": "shop.xrelay.test", "the zone in between": "shop.relay.test.evil.test",
	} {
		all[what] = attempt{name: name}
	}
	for _, name := range []string{"bad.example.test", "x.bad.example.test", "test", "relay.test", "localhost"} {
		all["with DNS that names them for "+name] = attempt{name: name, before: func(w *world) { w.dns.name(name, w.attacker) }}
	}
	for i, prefix := range []string{"", "x.", "x.y.", "x.y.z."} {
		for what, suffix := range map[string]string{"": "", "below a free name ": ".free", "far below a free name ": ".y.z"} {
			all[fmt.Sprintf("a label of the victim's key %s%d levels down", what, i)] = attempt{name: prefix + "{victim}" + suffix + ".relay.test"}
		}
	}
	for _, token := range []string{"revoked", "expired", "used up", "bound", "", "of the victi", "OF THE VICTIM", "for another name", "of the victim\x00", "keystay-"} {
		all["a token that is "+token] = attempt{name: "new.free.relay.test", token: token, policy: names.WithToken}
		all["a domain by a token that is "+token] = attempt{name: "app.attacker.test", token: token, policy: names.WithToken, before: func(w *world) {
			w.dns.name("app.attacker.test", w.attacker)
			if token == "for another name" {
				w.dns.name("app.attacker.test") // any valid token admits
			}
		}}
	}
	all["a closed relay"] = attempt{name: "new.relay.test", policy: names.Closed, token: "of the victim"}
	all["a domain at a closed relay"] = attempt{name: "app.attacker.test", policy: names.Closed, before: func(w *world) { w.dns.name("app.attacker.test", w.attacker) }}
	all["from a banned network"] = attempt{name: "new.relay.test", from: "192.0.2.7"}
	all["from a banned network, as IPv6"] = attempt{name: "new.relay.test", from: "::ffff:192.0.2.7"}
	all["the key name from a banned network"] = attempt{name: "{attacker}.relay.test", from: "192.0.2.7"}
	all["a banned identity"] = attempt{name: "new.relay.test", before: banAttacker}
	all["a banned identity's key name"] = attempt{name: "{attacker}.relay.test", before: banAttacker}
	all["a banned identity's domain"] = attempt{name: "app.attacker.test", before: func(w *world) { banAttacker(w); w.dns.name("app.attacker.test", w.attacker) }}
	for what, key := range map[string]ed25519.PublicKey{"no key": nil, "a short key": make([]byte, 31), "a long key": make([]byte, 33)} {
		all[what] = attempt{name: "new.relay.test", key: func(*world) ed25519.PublicKey { return key }}
	}
	for what, before := range map[string]func(*world){
		"named nobody":     func(w *world) { w.dns.name("app.attacker.test") },
		"named the victim": func(w *world) { w.dns.name("app.attacker.test", w.victim) },
		"failed":           func(w *world) { w.dns.name("app.attacker.test", w.attacker); w.dns.fail("app.attacker.test") },
		"named the name of a key": func(w *world) {
			w.dns.says["app.attacker.test"] = names.Evidence{{Label: keyname.Label(public(w.attacker), "") + ".relay.test", Via: "txt"}, {Label: "", Via: "cname"}}
		},
		"named another word": func(w *world) {
			w.dns.says["app.attacker.test"] = names.Evidence{{Label: keyname.Label(public(w.attacker), "word"), Via: "txt"}}
		},
	} {
		all["a domain whose DNS "+what] = attempt{name: "app.attacker.test", before: before}
	}
	all["a proof that was good for a domain that has moved"] = attempt{name: "own.attacker.test", before: func(w *world) {
		w.dns.name("own.attacker.test", w.attacker)
		w.must(w.claim(w.attacker, "own.attacker.test", ""))
		w.dns.name("own.attacker.test", w.victim)
		w.must(w.claim(w.victim, "own.attacker.test", ""))
	}}
	all["a domain that names both"] = attempt{name: "app.victim.test", before: func(w *world) { w.dns.name("app.victim.test", w.attacker, w.victim) }}
	inFlight(all)
	return all
}

func banAttacker(w *world) {
	_, err := w.names.Ban(names.Ban{Kind: names.BanIdentity, Of: keyname.Label(public(w.attacker), "")})
	w.must(err)
}

// inFlight adds the claims that are under way when others do something.
func inFlight(all map[string]attempt) {
	for what, meanwhile := range map[string]func(*world, string){
		"its name is banned":     func(w *world, name string) { w.ban(names.BanName, name) },
		"a name above is banned": func(w *world, name string) { w.ban(names.BanName, name[strings.IndexByte(name, '.')+1:]) },
		"its identity is banned": func(w *world, _ string) { banAttacker(w) },
		"its network is banned":  func(w *world, _ string) { w.ban(names.BanAddress, "198.51.100.0/24") },
		"its token is revoked":   func(w *world, _ string) { w.revokeAll() },
		"the policy is closed":   func(w *world, _ string) { w.names.SetRules(names.Rules{Policy: names.Closed}) },
		"somebody else gets it": func(w *world, name string) {
			w.dns.name(name, w.victim)
			w.must(w.claim(w.victim, name, "of the victim"))
		},
	} {
		for _, name := range []string{"new.free.relay.test", "app.attacker.test"} {
			all[what+" while "+name+" is claimed"] = attempt{name: name, from: "198.51.100.7", token: "good", policy: names.WithToken,
				before: func(w *world) {
					secret, _, err := w.names.CreateToken(names.TokenInfo{Names: []string{"*.free.relay.test"}})
					w.must(err)
					w.tokens["good"] = secret
					w.dns.name(name, w.attacker)
				},
				meanwhile: func(w *world) { meanwhile(w, name) }}
		}
	}
	for what, name := range map[string]string{"above": "free.relay.test", "below": "x.new.free.relay.test"} {
		all["somebody gets a name "+what+" while it is claimed"] = attempt{name: "new.free.relay.test",
			before:    func(w *world) { w.releaseAll("used-up.free.relay.test", "bound.free.relay.test") },
			meanwhile: func(w *world) { w.must(w.claim(w.victim, name, "")) }}
	}
	all["its name is reserved while it is claimed"] = attempt{name: "new.free.relay.test", meanwhile: func(w *world) {
		_, err := w.names.Reserve("free", "")
		w.must(err)
	}}
	all["custom domains are turned off while one is claimed"] = attempt{name: "app.attacker.test", before: func(w *world) { w.dns.name("app.attacker.test", w.attacker) },
		meanwhile: func(w *world) { w.names.SetRules(names.Rules{NoDomains: true}) }}
	all["its last place is taken by another claim of its own"] = attempt{name: "new.relay.test", before: func(w *world) {
		w.names.SetRules(names.Rules{NamesPerIdentity: 1})
	}, meanwhile: func(w *world) { w.must(w.claim(w.attacker, "own.relay.test", "")) }}
}

func (w *world) ban(kind names.BanKind, of string) {
	_, err := w.names.Ban(names.Ban{Kind: kind, Of: of})
	w.must(err)
}

func (w *world) revokeAll() {
	list, err := w.names.ListTokens()
	w.must(err)
	for _, t := range list {
		_, err := w.names.RevokeToken(t.ID, false)
		w.must(err)
	}
}

func (w *world) releaseAll(list ...string) {
	for _, name := range list {
		_, err := w.names.Take(name, "", true)
		w.must(err)
	}
}

// Whatever somebody tries, they get nothing that is not theirs.
func TestNoTakeover(t *testing.T) {
	all := attempts()
	if len(all) < 200 {
		t.Errorf("only %d attempts", len(all))
	}
	worlds := make(map[names.Policy]*world) // of the plain ones
	for _, what := range slices.Sorted(maps.Keys(all)) {
		a := all[what]
		w := worlds[a.policy]
		if !a.plain() {
			w = nil
		}
		if w == nil {
			w = newWorld(t, a.policy)
		}
		if a.plain() {
			worlds[a.policy] = w
		}
		t.Run(what, func(t *testing.T) { a.run(t, w) })
	}
}
