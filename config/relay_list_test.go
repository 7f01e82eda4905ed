package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const listKey = "ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik="

// loadList reads a configuration of flags.
func loadList(t *testing.T, args ...string) (*Remote, error) {
	t.Helper()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	RemoteFlags(fs)
	if err := fs.Parse(append([]string{"--local", "3000", "--state-dir", t.TempDir()}, args...)); err != nil {
		t.Fatal(err)
	}
	r, _, err := LoadRemote(fs, nil)
	return r, err
}

// A relay out of a list is no relay of that name, and needs a list that can be trusted.
func TestRelayOfAList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relays.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{file, "https://lists.example/relays.json", "http://127.0.0.1:8080/relays.json", "http://localhost/relays.json"} {
		r, err := loadList(t, "--relay", "auto", "--relay-list", list, "--relay-list-key", listKey)
		if err != nil || !r.RelayAuto || len(r.Relays) > 0 || r.RelayList != list || len(r.RelayListKeys) != 1 {
			t.Errorf("%s: %+v, %v", list, r, err)
		}
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--relay", "auto"}, "relay_list"},
		{[]string{"--relay", "auto,relay.net", "--relay-list", file}, "beside other relays"},
		{[]string{"--relay", "auto", "--relay-list", file, "--relay-address", "192.0.2.1:443"}, "is not known"},
		{[]string{"--relay", "auto", "--relay-list", file, "--token", "x"}, "may have the token"},
		{[]string{"--relay", "auto", "--relay-list", file, "--token-file", file}, "may have the token"},
		{[]string{"--relay-list", "http://lists.example/relays.json"}, "in the clear"},
		{[]string{"--relay-list", "https://ada@lists.example/relays.json"}, "no https:// URL"},
		{[]string{"--relay-list", file + ".missing"}, "relay_list"},
		{[]string{"--relay-list-key", "x"}, "no key of a list"},
		{[]string{"--relay-list-key", listKey + "," + listKey}, "twice"},
	} {
		if _, err := loadList(t, c.args...); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "--relay-list:", "relay_list:"), c.says) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

// Commands about one relay say that it has to be named.
func TestAutoIsNoRelayOfACommand(t *testing.T) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	ReleaseFlags(fs)
	if err := fs.Parse([]string{"--relay", "auto", "--state-dir", t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRelease(fs, "xyz.relay.net"); err == nil || !strings.Contains(err.Error(), "has to be named") {
		t.Errorf("%v", err)
	}
}
