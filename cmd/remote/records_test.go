package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"keystay/remote"
)

// A zoneFile is what a DNS server says: for each name its records, as TYPE VALUE.
type zoneFile map[string][]string

// serve answers from the file on loopback until the test ends, and returns the address.
// What is not in it has SERVFAIL where the file has a name "fails", and CAA records alone
// have it where there is one "no-caa"; answers have the AD bit where there is "signed".
func (z zoneFile) serve(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { pc.Close() })
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
			_, fails := z["fails"]
			if _, noCAA := z["no-caa"]; fails || noCAA && m.Questions[0].Type == typeCAA {
				m.RCode = dnsmessage.RCodeServerFailure
			}
			_, m.AuthenticData = z["signed"]
			m.Answers = z.answers(m.Questions[0])
			if out, err := m.Pack(); err == nil {
				pc.WriteTo(out, from)
			}
		}
	})
	return pc.LocalAddr().String()
}

// typeCAA is that of CAA records (RFC 8659, section 4.1).
const typeCAA dnsmessage.Type = 257

func (z zoneFile) answers(q dnsmessage.Question) (list []dnsmessage.Resource) {
	for _, r := range z[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))] {
		kind, value, _ := strings.Cut(r, " ")
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
		var body dnsmessage.ResourceBody
		switch {
		case kind == "TXT" && q.Type == dnsmessage.TypeTXT:
			body = &dnsmessage.TXTResource{TXT: []string{value}}
		case kind == "A" && q.Type == dnsmessage.TypeA:
			body = &dnsmessage.AResource{A: netip.MustParseAddr(value).As4()}
		case kind == "AAAA" && q.Type == dnsmessage.TypeAAAA:
			body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(value).As16()}
		case kind == "CAA" && q.Type == typeCAA:
			tag, text, _ := strings.Cut(value, " ")
			body = &dnsmessage.UnknownResource{Type: typeCAA, Data: append([]byte{0, byte(len(tag))}, tag+text...)}
		case kind == "CNAME":
			body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(value + ".")}
		default:
			continue
		}
		list = append(list, dnsmessage.Resource{Header: h, Body: body})
	}
	return list
}

// remote dns shows the records, says which are there, and its exit code whether all
// are that are needed.
func TestRecordsOfADomain(t *testing.T) {
	dir := t.TempDir()
	label, _, err := remote.Identity(dir)
	if err != nil {
		t.Fatal(err)
	}
	const domain, relay = "app.example.com", "relay.net"
	relays := func(z zoneFile) zoneFile {
		z[relay] = []string{"A 203.0.113.5", "AAAA 2001:db8::5"}
		z[label+"."+relay] = z[relay]
		return z
	}
	txt := "TXT keystay=" + label
	for name, c := range map[string]struct {
		zone            zoneFile
		proven, reached bool
		shows           []string // in what a person sees
	}{
		"nothing": {zoneFile{}, false, false, []string{
			"  -  _keystay.app.example.com  TXT    keystay=" + label + "\n  -  app.example.com           CNAME  " + label + ".relay.net\n",
			"  -  app.example.com  A      203.0.113.5\n  -  app.example.com  AAAA   2001:db8::5\n  -  app.example.com  CNAME  relay.net\n",
			"app.example.com has no address"}},
		"TXT alone": {zoneFile{"_keystay." + domain: {"TXT v=spf1", txt}}, true, false, []string{"  there  _keystay.app.example.com  TXT"}},
		"TXT and addresses": {zoneFile{"_keystay." + domain: {txt}, domain: {"A 203.0.113.5", "AAAA 2001:db8::5"}}, true, true,
			[]string{"  there  app.example.com  AAAA   2001:db8::5"}},
		"TXT and one of the addresses": {zoneFile{"_keystay." + domain: {txt}, domain: {"A 203.0.113.5"}}, true, true, nil},
		"TXT and a CNAME":              {zoneFile{"_keystay." + domain: {txt}, domain: {"CNAME " + relay}}, true, true, []string{"  there  app.example.com  CNAME  relay.net"}},
		"the CNAME":                    {zoneFile{domain: {"CNAME " + label + "." + relay}}, true, true, []string{"  there  app.example.com           CNAME  " + label}},
		"a chain":                      {zoneFile{domain: {"CNAME x.example.com"}, "x.example.com": {"CNAME " + label + "." + relay}}, true, true, nil},
		"an address too many": {zoneFile{"_keystay." + domain: {txt}, domain: {"A 203.0.113.5", "A 192.0.2.9"}}, true, false,
			[]string{"app.example.com leads to 192.0.2.9, which is not an address of relay.net"}},
		"a CNAME of another device": {zoneFile{domain: {"CNAME " + strings.Repeat("a", 32) + "." + relay}, strings.Repeat("a", 32) + "." + relay: {"A 203.0.113.5"}}, false, true,
			[]string{"DNS names another device: " + strings.Repeat("a", 32)}},
		"a record that is misspelt": {zoneFile{"_keystay." + domain: {"TXT keystay " + label}}, false, false, []string{"1 TXT records that are none of keystay's"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := relays(c.zone).serve(t)
			args := []string{"dns", domain, "--relay", relay + ":8443", "--state-dir", dir, "--dns", server}
			out, err := execute("", args...)
			if want := c.proven && c.reached; (code(err) == 0) != want || !want && code(err) != 1 {
				t.Errorf("code %d, %v", code(err), err)
			}
			for _, want := range c.shows {
				if !strings.Contains(out, want) {
					t.Errorf("it does not show %q:\n%s", want, out)
				}
			}
			asJSON, _ := execute("", append(args, "--json")...)
			var r records
			if err := json.Unmarshal([]byte(asJSON), &r); err != nil || r.Proven != c.proven || r.Reached != c.reached || r.Identity != label || len(r.Records) != 5 {
				t.Errorf("%v: %s", err, asJSON)
			}
		})
	}
}

// A domain that has other records of its own, as each does directly below a public
// suffix, is advised no CNAME.
func TestTopOfADomainHasNoCNAME(t *testing.T) {
	server := zoneFile{"relay.net": {"A 203.0.113.5"}}.serve(t)
	out, _ := execute("", "dns", "example.co.uk", "--relay", "relay.net", "--state-dir", t.TempDir(), "--dns", server)
	if strings.Contains(out, "CNAME") || !strings.Contains(out, " TXT ") {
		t.Error(out)
	}
}

// The key is made if there is none, and used from then on; DNS that fails is told
// with its reason; and wrong usage is code 2.
func TestDNSCommandAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	good := zoneFile{}.serve(t)
	first, _ := execute("", "dns", "app.example.com", "--relay", "relay.net", "--state-dir", dir, "--dns", good)
	again, _ := execute("", "dns", "app.example.com", "--relay", "relay.net", "--state-dir", dir, "--dns", good)
	if first != again || !strings.Contains(first, "keystay=") {
		t.Errorf("%s\n%s", first, again)
	}
	if info, err := os.Stat(filepath.Join(dir, "identity.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	fails := zoneFile{"fails": nil}.serve(t)
	out, err := execute("", "dns", "app.example.com", "--relay", "relay.net", "--state-dir", dir, "--dns", fails)
	if code(err) != 1 || err == nil || !strings.Contains(err.Error(), "SERVFAIL (asked: "+fails) || out != "" {
		t.Errorf("code %d, %v: %s", code(err), err, out)
	}
	for _, args := range [][]string{{}, {"app.example.com"}, {"x.relay.net", "--relay", "relay.net"}, {"relay.net", "--relay", "relay.net:8443"},
		{"a b", "--relay", "relay.net"}, {"app.example.com", "--relay", "a b"}, {"app.example.com", "b.example.com", "--relay", "relay.net"}, {"app.example.com", "--relay", "relay.net", "--dns", "x"}} {
		if _, err := execute("", append([]string{"dns", "--state-dir", dir}, args...)...); code(err) != 2 {
			t.Errorf("%q: code %d, %v", args, code(err), err)
		}
	}
}
