package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/relaylist"
)

// list runs relay list and returns what it prints.
func list(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&out)
	c.SetErr(t.Output())
	c.SetArgs(append([]string{"list"}, args...))
	err := c.Execute()
	return out.String(), err
}

// runList is list of what must work.
func runList(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := list(t, stdin, args...)
	if err != nil {
		t.Fatalf("relay list %q: %v", args, err)
	}
	return out
}

// A list that is made by its three commands is the one that devices read.
func TestListIsMadeAndChecked(t *testing.T) {
	dir := t.TempDir()
	key, next := filepath.Join(dir, "list.key"), filepath.Join(dir, "next.key")
	public := strings.TrimSpace(runList(t, "", "key", key))
	if again := strings.TrimSpace(runList(t, "", "key", key)); again != public {
		t.Errorf("the key is %s, and then %s", public, again)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	other := strings.TrimSpace(runList(t, "", "key", next))
	signed := runList(t, `{"name": "friends", "relays": [{"relay": "Relay.net", "region": "Bern"}]}`, "sign", "-", "--key", key, "--key", next, "--serial", "7")
	for _, k := range []string{public, other} {
		runList(t, signed, "verify", "-", "--key", k)
	}
	var shown struct {
		Serial  uint64
		Signers []string
		Relays  []struct{ Relay, Region string }
	}
	if err := json.Unmarshal([]byte(runList(t, signed, "verify", "-", "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Serial != 7 || !slices.Equal(shown.Signers, []string{public, other}) || len(shown.Relays) != 1 || shown.Relays[0].Relay != "relay.net" || shown.Relays[0].Region != "Bern" {
		t.Errorf("%+v", shown)
	}
	first, err := relaylist.Parse([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	again, err := relaylist.Parse([]byte(runList(t, signed, "sign", "-", "--key", key)))
	if err != nil || again.Serial <= first.Serial || !again.Expires.Equal(again.Issued.AddDate(0, 0, 30)) {
		t.Errorf("%+v, %v", again, err)
	}
}

// What is wrong with a list has an exit code and says what to do.
func TestMistakesOfAList(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "list.key")
	runList(t, "", "key", key)
	const draft = `{"name": "friends", "relays": [{"relay": "relay.net"}]}`
	signed := runList(t, draft, "sign", "-", "--key", key)
	old := filepath.Join("..", "..", "internal", "relaylist", "testdata", "expired.json")
	none := filepath.Join(dir, "none.key")
	if err := os.WriteFile(none, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin  string
		args   []string
		code   int
		advice *hint.Advice
	}{
		{draft, []string{"sign", "-"}, cli.ExitUsage, hint.ListKeyMissing},
		{draft, []string{"sign", "-", "--key", key, "--days", "0"}, cli.ExitUsage, nil},
		{"{}", []string{"sign", "-", "--key", key}, cli.ExitUsage, hint.ListDraft},
		{draft, []string{"sign", "-", "--key", none}, cli.ExitFailed, hint.NotListKey},
		{draft, []string{"verify", "-"}, cli.ExitFailed, hint.ListDraft},
		{strings.Replace(signed, "relay.net", "relay.com", 1), []string{"verify", "-"}, cli.ExitFailed, hint.ListUnsigned},
		{signed, []string{"verify", "-", "--key", "ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik="}, cli.ExitFailed, hint.ListUnsigned},
		{signed, []string{"verify", "-", "--key", "x"}, cli.ExitUsage, nil},
		{"", []string{"verify", old}, cli.ExitFailed, hint.ListOver},
	} {
		_, err := list(t, c.stdin, c.args...)
		var e *cli.Error
		code := cli.ExitFailed
		if errors.As(err, &e) {
			code = e.Code
		}
		if err == nil || code != c.code || c.advice != nil && !slices.Equal(hint.All(err), c.advice.Do) {
			t.Errorf("relay list %q: code %d, %v, %q", c.args, code, err, hint.All(err))
		}
	}
}
