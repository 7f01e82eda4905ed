package folder_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/remote/publish/folder"
)

// Of a folder that is never to be served nothing is, be it made, moved or linked into the
// one that is served later on.
func TestNeverIsNotServed(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	f, dir := site(t, folder.Options{Listing: true, Never: state}, map[string]string{"a/b.txt": "b"})
	gone := func(target string) {
		t.Helper()
		if r := ask(f, "GET", target); r.StatusCode != http.StatusNotFound || strings.Contains(body(t, r), secret) {
			t.Errorf("%s: status %d", target, r.StatusCode)
		}
	}
	there := func(target, text string) {
		t.Helper()
		if r := ask(f, "GET", target); r.StatusCode != http.StatusOK || body(t, r) != text {
			t.Errorf("%s: status %d", target, r.StatusCode)
		}
	}
	there("/a/b.txt", "b") // the other folder is not there yet
	write(t, dir, map[string]string{"ds/identity.pem": secret})
	if err := os.Symlink(filepath.Join(dir, "ds"), state); err != nil {
		t.Skip(err)
	}
	link(t, dir, "a/in", "../ds")
	gone("/ds/identity.pem")
	gone("/ds/")
	gone("/a/in/identity.pem")
	there("/a/b.txt", "b")
	if text := body(t, ask(f, "GET", "/")); strings.Contains(text, "ds") || !strings.Contains(text, "a/") {
		t.Errorf("the list is %s", text)
	}

	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, state); err != nil {
		t.Fatal(err)
	}
	if r := ask(f, "GET", "/a/b.txt"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the state directory itself is served: status %d", r.StatusCode)
	}
	if err := f.Check(t.Context()); err == nil {
		t.Error("it can be served")
	}
}
