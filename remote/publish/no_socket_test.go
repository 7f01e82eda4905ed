package publish_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"keystay/remote/publish"
)

// A folder or a plain file is no socket, and is called that.
func TestPathWithoutSocketIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file} {
		target := publish.Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: "unix", Addresses: []string{path}}
		if err := target.Check(t.Context(), "a.relay.test"); err == nil || err.Error() != "it is no socket" {
			t.Errorf("%s: %v", path, err)
		}
	}
}
