package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
