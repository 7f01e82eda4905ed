package domainproof_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"keystay/internal/domainproof"
)

const (
	account = "https://ca.test/acct/1"
	foreign = "https://ca.test/acct/2"
)

func caa(name, value string) string { return name + `. 1 IN CAA 0 issue "` + value + `"` }

func resolver(s *server) *domainproof.Resolver {
	return &domainproof.Resolver{Servers: []netip.AddrPort{s.addr}}
}

// Of all names from the domain upwards the first that has CAA records counts, CNAMEs
// included; and a CNAME is noted even where its target has no such record, since it
// could get one.
func TestCAAThatCounts(t *testing.T) {
	const domain, mine = "a.app.example.test", "ca.test; accounturi=" + account
	for name, c := range map[string]struct {
		records  []string
		at       string
		only     bool // for account
		lets     bool
		outwards []string
	}{
		"none":                        {nil, "", false, true, nil},
		"its own":                     {[]string{caa(domain, mine)}, domain, true, true, nil},
		"its parent's":                {[]string{caa("app.example.test", mine)}, "app.example.test", true, true, nil},
		"the top's":                   {[]string{caa("test", mine)}, "test", true, true, nil},
		"its own before the parent's": {[]string{caa(domain, "ca.test"), caa("app.example.test", mine)}, domain, false, true, nil},
		"one that is open beside":     {[]string{caa(domain, mine), caa(domain, "other.test")}, domain, false, true, nil},
		"another account beside":      {[]string{caa(domain, mine), caa(domain, "ca.test;accounturi="+foreign)}, domain, false, true, nil},
		"another account":             {[]string{caa(domain, "ca.test;accounturi="+foreign)}, domain, false, false, nil},
		"nobody":                      {[]string{caa(domain, ";")}, domain, true, false, nil},
		"methods that are":            {[]string{caa(domain, mine+"; validationmethods=dns-01,tls-alpn-01")}, domain, true, true, nil},
		"methods that are not":        {[]string{caa(domain, mine+"; validationmethods=dns-01")}, domain, true, false, nil},
		"issuewild alone":             {[]string{domain + `. 1 IN CAA 0 issuewild ";"`, caa("app.example.test", mine)}, domain, false, true, nil},
		"a critical tag":              {[]string{caa(domain, mine), domain + `. 1 IN CAA 128 tbs "x"`}, domain, true, false, nil},
		"capitals":                    {[]string{domain + `. 1 IN CAA 0 ISSUE "CA.test; AccountURI=` + account + `"`}, domain, true, true, nil},
		"a CNAME":                     {[]string{domain + ". 1 IN CNAME x.relay.test.", caa("x.relay.test", "ca.test"), caa("app.example.test", mine)}, domain, false, true, []string{"x.relay.test"}},
		"a CNAME to nothing":          {[]string{domain + ". 1 IN CNAME x.relay.test.", "x.relay.test. 1 IN A 127.0.0.1", caa("relay.test", "ca.test"), caa("app.example.test", mine)}, "app.example.test", true, true, []string{"x.relay.test"}},
		"a CNAME of the parent":       {[]string{domain + ". 1 IN A 127.0.0.1", "app.example.test. 1 IN CNAME relay.test.", caa("relay.test", "ca.test")}, "app.example.test", false, true, []string{"relay.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolver(newServer(t, c.records...)).CAA(t.Context(), domain)
			if err != nil {
				t.Fatal(err)
			}
			if got.At != c.at || got.OnlyFor(account) != c.only || got.Lets(account, "tls-alpn-01", "http-01") != c.lets || !slices.Equal(got.Aliases, c.outwards) {
				t.Errorf("%+v: only %v, lets %v", got, got.OnlyFor(account), got.Lets(account, "tls-alpn-01"))
			}
		})
	}
}

// Of the records only those count for a CA that name it, however it is spelt; without
// any, every CA may issue.
func TestCAAOfSomeCAs(t *testing.T) {
	c := domainproof.CAA{Issue: []domainproof.Issue{{CA: "ca.test", Account: account}, {CA: "other.test"}}}
	for _, test := range []struct {
		cas     []string
		account string
		lets    bool
	}{
		{[]string{"CA.test"}, account, true},
		{[]string{"ca.test"}, "", false},
		{[]string{"third.test", "other.test"}, "", true},
		{[]string{"third.test"}, account, false},
	} {
		if of := c.Of(test.cas); of.Lets(test.account, "http-01") != test.lets {
			t.Errorf("%+v: %+v", test, of)
		}
	}
	if c.Issue[1].CA != "other.test" {
		t.Errorf("the records themselves have changed: %+v", c)
	}
	if of := new(domainproof.CAA).Of([]string{"ca.test"}); !of.Lets("", "http-01") {
		t.Errorf("no record, and yet %+v", of)
	}
}

// That records are missing is known only when DNS has said so.
func TestCAAThatCannotBeAsked(t *testing.T) {
	s := newServer(t, caa("example.test", "ca.test; accounturi="+account))
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if !strings.HasPrefix(q.Question[0].Name, "app.") {
			return false
		}
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
		return true
	})
	if got, err := resolver(s).CAA(t.Context(), "app.example.test"); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("%+v, %v", got, err)
	}
}

// The AD bit counts where all answers have it.
func TestCAAIsAuthenticatedAsAWhole(t *testing.T) {
	s := newServer(t, caa("example.test", "ca.test"))
	for _, signed := range []string{"", "app.example.test.", "example.test.", "both"} {
		s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := s.reply(q)
			m.AuthenticatedData = signed == "both" || signed == q.Question[0].Name
			w.WriteMsg(m)
			return true
		})
		if got, err := resolver(s).CAA(t.Context(), "app.example.test"); err != nil || got.Authenticated != (signed == "both") {
			t.Errorf("%q: %+v, %v", signed, got, err)
		}
	}
}

// An issue property that a CA would not understand lets nobody issue.
func TestIssuePropertyThatIsNotWellFormedLetsNobodyIssue(t *testing.T) {
	for value, want := range map[string]domainproof.Issue{
		"ca.test":            {CA: "ca.test"},
		" CA.test ; ":        {CA: "ca.test"},
		";":                  {},
		"":                   {},
		"ca.test; policy=ev": {CA: "ca.test"},
		"ca.test; accounturi=https://ca.test/1?x=2; validationmethods=http-01,tls-alpn-01": {CA: "ca.test", Account: "https://ca.test/1?x=2", Methods: []string{"http-01", "tls-alpn-01"}},
		"ca.test; accounturi=https://ca.test/1; accounturi=https://ca.test/2":              {},
		"ca.test; validationmethods=a; validationmethods=b":                                {},
		"ca.test; accounturi=":             {},
		"ca.test; accounturi":              {},
		"ca.test; =x":                      {},
		"ca.test; accounturi=https://a b":  {},
		"ca.test; accounturi=https://é":    {},
		"; accounturi=https://ca.test/1":   {Account: "https://ca.test/1"},
		"ca.test accounturi=https://ca/1 ": {CA: "ca.test accounturi=https://ca/1"},
	} {
		want.Text = value
		if got := domainproof.ParseIssue(value); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", value, got, want)
		}
	}
}

func FuzzParseIssue(f *testing.F) {
	f.Add("ca.test; accounturi=" + account + "; validationmethods=http-01")
	f.Add(";;=;")
	f.Fuzz(func(t *testing.T, value string) {
		i := domainproof.ParseIssue(value)
		if i.Text != value || i.Account != "" && !strings.Contains(value, i.Account) {
			t.Errorf("%q: %+v", value, i)
		}
		c := domainproof.CAA{Issue: []domainproof.Issue{i}}
		if c.OnlyFor(account) && c.Lets(foreign, "http-01") {
			t.Errorf("%q lets another account issue: %s", value, fmt.Sprint(c))
		}
	})
}
