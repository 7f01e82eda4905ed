package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/config"
)

// What was meant by a local service that is none is said, and a password in it is not.
func TestLocalThatIsNoneNamesWhatWasMeant(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "public"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "remote.yaml")
	for local, want := range map[string]string{
		"tcp:13006": `did you mean "tcp://127.0.0.1:13006"?`, "https:13003": `did you mean "https://127.0.0.1:13003"?`,
		"h2c:13001": `did you mean "h2c://127.0.0.1:13001"?`, "tls:1": `did you mean "tls://127.0.0.1:1"?`,
		"remote.yaml": "did you mean remote --config remote.yaml?",
		"index.html":  "index.html is a file, and folders are published: its folder is ./",
		"public":      `did you mean "./public"?`, "redirect:example.com": `did you mean "redirect:https://example.com"?`,
		"http://ada:sesame@127.0.0.1:3000": "there is a password in the URL", "redirect:https://ada:sesame@a.test/": "there is a password in the URL",
		"tcp://ada:sesame@a:1": "there is a password in the URL", "http://ada:ses/ame@a/": "there is a password in the URL",
	} {
		text := "services: [{local: \"" + local + "\"}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("KEYSTAY_REMOTE_CONFIG", file)
		_, _, err := config.LoadRemote(nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ses") && strings.Contains(err.Error(), "ame@") {
			t.Errorf("%s: %v, want %s", local, err, want)
		}
	}
}
