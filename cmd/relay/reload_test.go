package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/config"
	"keystay/relay"
	"keystay/relay/names"
)

// SIGHUP takes the tokens that a start would take, and warns as a start warns.
func TestReloadChecksTokensAsAStartDoes(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	const good, other = "0123456789abcdef", "fedcba9876543210"
	for name, c := range map[string]struct {
		a, b  string
		mode  os.FileMode
		taken bool
		log   []string // parts of it
	}{
		"two good ones":         {good, other, 0o600, true, []string{"tokens reloaded"}},
		"one of a single byte":  {"x", other, 0o600, false, []string{"a token of 1 bytes can be guessed", "openssl rand -hex 24"}},
		"an empty file":         {"", other, 0o600, false, []string{"the file is empty", "openssl rand -hex 24"}},
		"two lines":             {good + "\nx", other, 0o600, false, []string{"one line of text", "hint="}},
		"the same in two files": {good, good, 0o600, false, []string{"the same secret as tokens[0] has", "key=tokens[1].secret_file", "list all the names"}},
		"a short one":           {"12345678", other, 0o600, true, []string{"level=WARN", "is short and may be guessed", "tokens reloaded"}},
		"one open to everybody": {good, other, 0o644, true, []string{"level=WARN", "every user of this machine can read or write " + a, "chmod 600 " + a, "tokens reloaded"}},
	} {
		t.Run(name, func(t *testing.T) {
			for file, text := range map[string]string{a: c.a, b: c.b} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(a, c.mode); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			cfg := &config.Relay{Domain: "relay.test", Tokens: []config.Token{{SecretFile: a, Names: []string{"*.relay.test"}}, {SecretFile: b}}}
			p := &process{cfg: cfg, log: slog.New(slog.NewTextHandler(&log, nil)), cert: &ownCert{},
				srv: &relay.Server{Names: &names.Names{}}}
			p.reload()
			if taken := strings.Contains(log.String(), "tokens reloaded"); taken != c.taken {
				t.Errorf("taken %v, want %v", taken, c.taken)
			}
			if refused := strings.Contains(log.String(), "level=ERROR msg=\"the tokens are not reloaded; those from before are in use\""); refused == c.taken {
				t.Errorf("refused %v", refused)
			}
			for _, part := range c.log {
				if !strings.Contains(log.String(), part) {
					t.Errorf("no %q in\n%s", part, log.String())
				}
			}
		})
	}
}
