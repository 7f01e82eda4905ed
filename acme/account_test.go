package acme

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// accountCAs is two CAs, ca.test and other.test, that give each key they meet an
// account with a number of its own.
type accountCAs struct {
	refuse   func(host string, key int) bool // whether the host answers 403 to that key
	keys     map[string]int                  // the number of each key, by its JWK
	accounts map[string][]int                // the keys of new accounts at each host, in order
}

func newAccountCAs(refuse func(host string, key int) bool) *accountCAs {
	return &accountCAs{refuse, map[string]int{}, map[string][]int{}}
}

func (c *accountCAs) RoundTrip(r *http.Request) (*http.Response, error) {
	base := "https://" + r.URL.Host
	header := []string{"Content-Type", "application/json", "Replay-Nonce", "n"}
	switch r.Method {
	case http.MethodGet:
		return reply(200, strings.NewReader(fmt.Sprintf(`{"newNonce":"%[1]s/n","newAccount":"%[1]s/a","newOrder":"%[1]s/o"}`, base)), header...), nil
	case http.MethodHead:
		return reply(200, http.NoBody, header...), nil
	}
	var signed, protected struct {
		Protected string          `json:"protected"`
		JWK       json.RawMessage `json:"jwk"`
	}
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, &signed)
	}
	if err == nil {
		b, err = base64.RawURLEncoding.DecodeString(signed.Protected)
	}
	if err == nil {
		err = json.Unmarshal(b, &protected)
	}
	if err != nil {
		return nil, err
	}
	key, known := c.keys[string(protected.JWK)]
	if !known {
		key = len(c.keys) + 1
		c.keys[string(protected.JWK)] = key
	}
	if c.refuse(r.URL.Host, key) {
		return reply(403, strings.NewReader(`{"type":"urn:ietf:params:acme:error:unauthorized","status":403}`), "Replay-Nonce", "n"), nil
	}
	c.accounts[r.URL.Host] = append(c.accounts[r.URL.Host], key)
	return reply(201, strings.NewReader(`{"status":"valid"}`), append(header, "Location", fmt.Sprintf("%s/a/%d", base, key))...), nil
}

// accountsOf returns where the accounts at both CAs are, of a new Keeper on dir.
func accountsOf(t *testing.T, dir string, cas *accountCAs, log io.Writer) (first, second string) {
	t.Helper()
	k, _ := newKeeper(t, Config{Dir: dir, OtherCAs: []string{"https://other.test"}, Logger: slog.New(slog.NewTextHandler(log, nil))}, cas.RoundTrip)
	defer k.Close()
	var at [2]string
	for n, i := range k.issuers {
		acct, err := i.account(withAttempt(t.Context(), &attempt{}), i.client(""), "")
		if err != nil {
			t.Fatal(err)
		}
		at[n] = strings.TrimPrefix(acct.Location, "https://")
	}
	return at[0], at[1]
}

// Keys are numbered as they come: 1 is the shared one.
func TestOneCAsWordEndsNoAccountAtAnother(t *testing.T) {
	for refuser, want := range map[string][2]string{
		"other.test": {"ca.test/a/1", "other.test/a/2"},
		"ca.test":    {"ca.test/a/2", "other.test/a/1"},
		"":           {"ca.test/a/1", "other.test/a/1"},
	} {
		dir := t.TempDir()
		var log bytes.Buffer
		cas := newAccountCAs(func(host string, key int) bool { return host == refuser && key == 1 })
		for _, start := range []string{"first", "second"} { // the second start finds what the first one stored
			if a, b := accountsOf(t, dir, cas, &log); [2]string{a, b} != want {
				t.Errorf("%q refuses, %s start: accounts %s and %s, want %s", refuser, start, a, b, want)
			}
		}
		if a, b := len(cas.accounts["ca.test"]), len(cas.accounts["other.test"]); a != 1 || b != 1 {
			t.Errorf("%q refuses: %d and %d accounts were asked for, want one of each CA", refuser, a, b)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "account.key.*")); len(aside) != 0 {
			t.Errorf("%q refuses: the shared key was put aside: %s", refuser, aside)
		}
		wantSaid := 1
		if refuser == "" {
			wantSaid = 0
		}
		if said := strings.Count(log.String(), "a key for this CA alone was made"); said != wantSaid {
			t.Errorf("%q refuses: said %d times\n%s", refuser, said, log.String())
		}
	}
}

// The key for one CA alone is replaced in its turn, and the shared one stays.
func TestKeyForOneCAAloneIsReplacedInItsTurn(t *testing.T) {
	dir := t.TempDir()
	refused := 1
	cas := newAccountCAs(func(host string, key int) bool { return host == "other.test" && key <= refused })
	accountsOf(t, dir, cas, io.Discard)
	shared, err := os.ReadFile(filepath.Join(dir, "account.key"))
	if err != nil {
		t.Fatal(err)
	}

	refused = 2
	registrations, err := filepath.Glob(filepath.Join(dir, "accounts", "other.test*.json"))
	if err != nil || len(registrations) != 1 || os.Remove(registrations[0]) != nil { // so that the CA is asked again
		t.Fatalf("registrations %v, %v", registrations, err)
	}
	if a, b := accountsOf(t, dir, cas, io.Discard); a != "ca.test/a/1" || b != "other.test/a/3" {
		t.Errorf("accounts %s and %s", a, b)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "account.key")); !bytes.Equal(now, shared) || err != nil {
		t.Errorf("the shared key changed: %v", err)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "accounts", "*.key.broken-*")); len(aside) != 1 {
		t.Errorf("put aside: %v", aside)
	}
}

// A CA that refuses any key has another reason: nothing is stored for it.
func TestCAThatRefusesEveryKeyChangesNoFile(t *testing.T) {
	dir := t.TempDir()
	cas := newAccountCAs(func(string, int) bool { return true })
	k, _ := newKeeper(t, Config{Dir: dir}, cas.RoundTrip)
	for range 2 {
		if _, err := k.issuers[0].account(withAttempt(t.Context(), &attempt{}), k.issuers[0].client(""), ""); err == nil {
			t.Error("there is an account")
		}
	}
	if keys, _ := filepath.Glob(filepath.Join(dir, "*key*")); len(keys) != 1 || filepath.Base(keys[0]) != accountKey {
		t.Errorf("keys %v", keys)
	}
	if own, _ := filepath.Glob(filepath.Join(dir, "accounts", "*")); len(own) != 0 {
		t.Errorf("stored %v", own)
	}
}
