package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/socket"
	"keystay/internal/testca"
)

// A mistake in a file that the configuration names is told at the line of the
// configuration and its key, with a hint, as every other mistake is.
func TestMistakeInANamedFileHasTheLineThatNamesIt(t *testing.T) {
	ca := testca.New(t)
	dir, other := t.TempDir(), t.TempDir()
	cert, _ := ca.Files(dir, "a.test")
	_, key := ca.Files(other, "a.test")
	empty, file := filepath.Join(dir, "empty"), filepath.Join(dir, "remote.yaml")
	if err := os.WriteFile(empty, []byte("ada:plain\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "relay: relay.test\nservices:\n  - local: text:a\n    domain: b.test\n  - local: text:b\n    domain: a.test\n"
	for text, want := range map[string]string{
		"    gate: {password_file: " + empty + "}\n":                                                     ":7: services[1].gate.password_file: ",
		"    gates:\n      - {links: true, paths: [/a/]}\n      - password_file: " + empty + "\n":        ":9: services[1].gates[1].password_file: ",
		"    gates:\n      - client_ca: " + empty + "\n":                                                 ":8: services[1].gates[0].client_ca: ",
		"    gates:\n      - client_ca: " + key + "\n":                                                   ":8: services[1].gates[0].client_ca: " + key + " holds a private key, and no certificate",
		"    cert: " + cert + "\n    key: " + cert + "\n":                                                ":8: services[1].key: " + cert + " holds a certificate, and no private key",
		"    cert: " + cert + "\n    key: " + key + "\n":                                                 ":7: services[1].cert: ",
		"    cert: " + cert + "\n    key: " + empty + "\n":                                               ":7: services[1].cert: ",
		"    gates:\n      - {links: true, paths: [/a]}\n      - {links: true, paths: [/a/]}\n":          ":9: services[1].gates[1]: ",
		"    gates:\n      - {links: true, paths: [/a/, /b]}\n      - {links: true, paths: [/b/, /c]}\n": ":9: services[1].gates[1]: ",
	} {
		if err := os.WriteFile(file, []byte(head+text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := execute("", "check", "--config", file)
		if code(err) != 2 || !strings.HasPrefix(fmt.Sprint(err), file+want) || !strings.Contains(fmt.Sprint(err), "\nhint: ") {
			t.Errorf("%s: %v, want %s", text, err, file+want)
		}
	}
}

// Where a flag names the file, the mistake is the flag's.
func TestMistakeInAFileOfAFlagNamesTheFlag(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := execute("", "doctor", "text:a", "--relay", "relay.test", "--state-dir", dir, "--auth-file", empty)
	if want := "--auth-file: " + empty + ": no user with a password\nhint: "; code(err) != 2 || !strings.HasPrefix(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// What a start warns of, a look at the configuration does too, with a hint, and it
// writes nothing.
func TestCheckWarnsAsAStartDoes(t *testing.T) {
	ca := testca.New(t)
	dir := t.TempDir()
	cert, key := ca.Files(dir, "other.test")
	file, state := filepath.Join(dir, "remote.yaml"), filepath.Join(dir, "state")
	for text, want := range map[string]string{
		"relay: relay.test\nservices: [{local: text:a, domain: a.test, cert: " + cert + ", key: " + key + "}]\n":     "services[0].cert: visitors will refuse the certificate: ",
		"relay: relay.test\nservices: [{local: text:a, domain: other.test, cert: " + cert + ", key: " + key + "}]\n": "",
		"services: [{local: text:a}]\n":                       "services[0]: no relay given, and none is remembered\nhint: name the relay in the file, as in relay: relay.net",
		"services: [{local: text:a, relay: relay.test}]\n":    "",
		"services: [{local: text:a, domain: a.relay.test}]\n": "",
		"relay: relay.test\nservices: [{local: text:a}]\n":    "",
	} {
		if err := os.WriteFile(file, []byte("state_dir: "+state+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := execute("", "check", "--config", file)
		if err != nil || want == "" && strings.Contains(out, "will refuse") || want == "" && strings.Contains(out, "no relay") || want != "" && !strings.Contains(out, "warning: "+want) {
			t.Errorf("%s: %v, %s, want %q", text, err, out, want)
		}
		if last, known := socket.WindowsLast(); strings.Contains(out, "note: after a pause ") != (known && !last) {
			t.Errorf("%s: %s; the windows of this system last: %v", text, out, last)
		}
		if _, err := os.Stat(state); !os.IsNotExist(err) {
			t.Errorf("%s: the state directory is there: %v", text, err)
		}
	}
}
