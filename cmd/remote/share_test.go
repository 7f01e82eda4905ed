package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// runShare runs "remote share" and returns what it prints on stdout, and its error.
func runShare(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := command()
	var out, other bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&other)
	cmd.SetArgs(append([]string{"share"}, args...))
	err := cmd.Execute()
	return out.String(), err
}

// A link is printed alone, for the name and the path that are given, and nothing runs.
func TestShareMakesALinkWithoutARunningRemote(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ to, begins, ends string }{
		{"xyz.relay.test", "https://xyz.relay.test/.well-known/keystay/link/", ""},
		{"https://XYZ.relay.test./", "https://xyz.relay.test/.well-known/keystay/link/", ""},
		{"xyz.relay.test:8443/a b/?c=d", "https://xyz.relay.test:8443/.well-known/keystay/link/", "?to=%2Fa+b%2F%3Fc%3Dd"},
	} {
		out, err := runShare(t, "--state-dir", dir, "--for", "2h", "--once", c.to)
		line, rest, _ := strings.Cut(out, "\n")
		if err != nil || rest != "" || !strings.HasPrefix(line, c.begins) || !strings.HasSuffix(line, c.ends) {
			t.Errorf("%s: %q, %v", c.to, out, err)
		}
	}
}

func TestShareSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--state-dir", dir},                     // none was served
		{"--state-dir", dir, "3000"},             // no name
		{"--state-dir", dir, "a..b"},             //
		{"--state-dir", dir, "a.test", "b.test"}, // two
		{"--state-dir", dir, "a.test:x"},
		{"--state-dir", dir, "a.test:65536"},
		{"--state-dir", dir, "--for", "0s", "a.test"},
		{"--state-dir", dir, "--for", "721h", "a.test"},
		{"--state-dir", dir + "/none", "a.test"},
	} {
		out, err := runShare(t, args...)
		if code(err) != cli.ExitUsage || out != "" {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
}

// Where it is not clear which name is meant, the hint is how share is told, and not the
// flag of another command.
func TestShareWithSeveralNamesSaysHowToNameOne(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "names"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app.relay.test", "db.relay.test"} {
		if err := os.WriteFile(filepath.Join(dir, "names", name+".json"), []byte(`{"relays":["relay.test"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := runShare(t, "--state-dir", dir)
	if got := strings.Join(hint.All(err), "; "); code(err) != cli.ExitUsage || got != "name the one that is meant: remote share app.relay.test" {
		t.Errorf("%v, hints %q", err, got)
	}
}
