package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/remote"
)

// withAccount puts the account that a CA has given into a state directory.
func withAccount(t *testing.T, stateDir, url string) {
	t.Helper()
	dir := filepath.Join(remote.ACMEDir(stateDir), "accounts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.json"), []byte(`{"status":"valid","location":"`+url+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A domain is operator-proof only where DNS names the device, leads visitors to the relay
// by address, and has CAA records that let nobody but the device's account have a
// certificate. What cannot be asked is said, and takes nothing from the other records.
func TestDomainIsOperatorProofOnlyWhereDNSShowsAllOfIt(t *testing.T) {
	dir := t.TempDir()
	label, _, err := remote.Identity(dir)
	if err != nil {
		t.Fatal(err)
	}
	const domain, relay, account = "app.example.com", "relay.net", "https://acme-v02.api.letsencrypt.org/acme/acct/7"
	withAccount(t, dir, account)
	mine := "CAA issue letsencrypt.org; accounturi=" + account + "; validationmethods=tls-alpn-01,http-01"
	txt, at := []string{"TXT keystay=" + label}, "A 203.0.113.5"
	for name, c := range map[string]struct {
		zone  zoneFile
		proof bool
		code  int
		shows string
	}{
		"no CAA":             {zoneFile{domain: {at}, "_keystay." + domain: txt}, false, 0, "if it is the only one: not set\n  -  app.example.com  CAA  0 issue \"letsencrypt.org; accounturi=" + account + "; validationmethods=tls-alpn-01,http-01\""},
		"its own":            {zoneFile{domain: {at, mine}, "_keystay." + domain: txt}, true, 0, "there  app.example.com  CAA"},
		"its own, signed":    {zoneFile{domain: {at, mine}, "_keystay." + domain: txt, "signed": nil}, true, 0, "operator-proof: yes, as the DNS server says, which has checked"},
		"unsigned":           {zoneFile{domain: {at, mine}, "_keystay." + domain: txt}, true, 0, "has not checked signatures (DNSSEC) of the CAA records"},
		"the parent's":       {zoneFile{domain: {at}, "example.com": {mine}, "_keystay." + domain: txt}, true, 0, "operator-proof: yes"},
		"any account of it":  {zoneFile{domain: {at, "CAA issue letsencrypt.org"}, "_keystay." + domain: txt}, false, 0, "let others than this device"},
		"one more":           {zoneFile{domain: {at, mine, "CAA issue other.example"}, "_keystay." + domain: txt}, false, 0, "let others than this device"},
		"another account":    {zoneFile{domain: {at, "CAA issue letsencrypt.org; accounturi=https://x.example/1"}, "_keystay." + domain: txt}, false, 1, "let no account of this device have"},
		"other methods":      {zoneFile{domain: {at, "CAA issue letsencrypt.org; accounturi=" + account + ";validationmethods=dns-01"}, "_keystay." + domain: txt}, false, 1, "let no account of this device have"},
		"not proven":         {zoneFile{domain: {at, mine}}, false, 1, "operator-proof: no"},
		"not reached":        {zoneFile{domain: {mine}, "_keystay." + domain: txt}, false, 1, "operator-proof: no"},
		"a CNAME":            {zoneFile{domain: {"CNAME " + relay}, "example.com": {mine}, "_keystay." + domain: txt}, false, 0, "whoever runs that zone can set a CAA record there"},
		"a CNAME of its own": {zoneFile{domain: {"CNAME x.example.com"}, "x.example.com": {at, mine}, "_keystay." + domain: txt}, true, 0, "operator-proof: yes"},
		"CAA fails":          {zoneFile{domain: {at, mine}, "_keystay." + domain: txt, "no-caa": nil}, false, 0, "who may have a certificate for the domain is not known: the CAA records of app.example.com: the DNS server says SERVFAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			c.zone[relay] = []string{at}
			args := []string{"dns", domain, "--relay", relay, "--state-dir", dir, "--dns", c.zone.serve(t)}
			out, err := execute("", args...)
			if code(err) != c.code || !strings.Contains(out, c.shows) || strings.Contains(out, "operator-proof: yes") != c.proof {
				t.Errorf("code %d, %v, want %q:\n%s", code(err), err, c.shows, out)
			}
			asJSON, _ := execute("", append(args, "--json")...)
			var r records
			if err := json.Unmarshal([]byte(asJSON), &r); err != nil || r.OperatorProof != c.proof || len(r.CAA.Accounts) != 1 || r.CAA.Issue == nil {
				t.Errorf("%v: %s", err, asJSON)
			}
		})
	}
}

// Without an account there is no record to show yet, and nothing is operator-proof.
func TestNoAccountNoCAARecord(t *testing.T) {
	dir := t.TempDir()
	server := zoneFile{"app.example.com": {"CAA issue letsencrypt.org; accounturi=https://x.example/1"}}.serve(t)
	out, err := execute("", "dns", "app.example.com", "--relay", "relay.net", "--state-dir", dir, "--dns", server)
	if code(err) != 1 || !strings.Contains(out, "has no account at a CA yet") || !strings.Contains(out, "operator-proof: no") || strings.Contains(out, "if it is the only one") {
		t.Errorf("code %d: %s", code(err), out)
	}
}

// A CA is called by the domain that its account's URL is below.
func TestCAIsCalledByTheDomainOfItsAccount(t *testing.T) {
	for url, want := range map[string]string{
		"https://acme-v02.api.letsencrypt.org/acme/acct/1": "letsencrypt.org", "https://dv.acme-v02.api.pki.goog/account/x": "pki.goog",
		"https://acme.zerossl.com/v2/DV90/account/x": "sectigo.com", "https://127.0.0.1:1/x": "CA", "https://localhost/x": "CA", ":": "CA",
	} {
		if got := caaName(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
