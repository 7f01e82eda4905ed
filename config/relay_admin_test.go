package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files of the pages are read with the configuration, and what is wrong with them
// is told with the key.
func TestFilesOfThePagesAreRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const hash = "$2a$10$yEaF3A3UFYVdrkryu01TsOHac7/FGRqymxPKK8lOec5EH9RqeNyKO" // wind
	load := func(text string) (string, error) {
		t.Helper()
		r, _, err := loadRelay(t, "--config", filepath.Join(dir, write("relay.yaml", "domain: relay.test\n"+text)))
		if err != nil {
			return "", err
		}
		if r.Admin.Users != nil && !r.Admin.Users.Check("ada", "wind") {
			t.Error("the user of the file cannot sign in")
		}
		return r.Site.Words + strings.Join(r.Admin.Hosts, " "), nil
	}
	write("users", "ada:"+hash+"\n")
	write("words", "\xef\xbb\xbfBe kind.\n")
	if words, err := load("admin: {password_file: users, hosts: [OPS.example]}\nsite: {words_file: words}\n"); err != nil || words != "Be kind.\nops.example" {
		t.Errorf("%q, %v", words, err)
	}
	write("plain", "ada:wind\n")
	write("long", strings.Repeat("x", 16<<10+1))
	write("latin", "Stra\xdfe")
	for text, want := range map[string]string{
		"admin: {password_file: plain}":   `relay.yaml:2: admin.password_file: "` + filepath.Join(dir, "plain") + `": line 1: the password of "ada" is no hash`,
		"admin: {password_file: missing}": "relay.yaml:2: admin.password_file: cannot read",
		"site: {words_file: long}":        "is longer than 16 KiB",
		"site: {words_file: latin}":       "is not text in UTF-8",
		"site: {words_file: .}":           "it is a folder",
		"admin: {hosts: [a_b]}":           "relay.yaml:2: admin.hosts[0]: ",
	} {
		if _, err := load(text + "\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
