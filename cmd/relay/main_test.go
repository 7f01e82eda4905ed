package main

import (
	"io"
	"strings"
	"testing"

	"keystay/internal/hint"
)

// A key of the file that is given as a flag, which it has not, is named; and nothing where
// it is none, or could be several.
func TestKeyGivenAsAFlagIsNamed(t *testing.T) {
	for flag, key := range map[string]string{
		"--tls-cert-file": "tls.cert_file", "--tls.cert_file": "tls.cert_file", "--acme-email": "acme.email",
		"--policy": "names.policy", "--names-policy": "names.policy", "--zzz": "", "--file": "",
	} {
		cmd := command()
		cmd.SetArgs([]string{"--domain", "relay.test", flag, "x"})
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		err := cmd.Execute()
		lines := strings.Join(hint.All(err), "\n")
		if err == nil || !strings.Contains(lines, "see relay --help") || strings.Contains(lines, " is a key of the configuration") != (key != "") || !strings.Contains(lines, key) {
			t.Errorf("%s: %v, %s", flag, err, lines)
		}
	}
}
