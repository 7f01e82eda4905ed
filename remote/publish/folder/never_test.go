package folder_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/remote/publish/folder"
)

// never is NewNever until the end of the test.
func never(t *testing.T, path string) *folder.Never {
	n := folder.NewNever(path)
	t.Cleanup(func() { n.Close() })
	return n
}

// Of a folder that is never to be served nothing is, be it made, moved or linked into the
// one that is served later on.
func TestNeverIsNotServed(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	f, dir := site(t, folder.Options{Listing: true, Never: never(t, state)}, map[string]string{"a/b.txt": "b"})
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

// Nothing of it is served where it was moved into the folder, and where its path leads
// elsewhere by now.
func TestNeverIsNotServedWhereItHasGone(t *testing.T) {
	top := t.TempDir()
	state := filepath.Join(top, "state")
	write(t, top, map[string]string{"state/identity.pem": secret})
	f, dir := site(t, folder.Options{Never: never(t, state)}, map[string]string{"a/b.txt": "b"})
	if err := os.Rename(state, filepath.Join(dir, "ds")); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"moved", "made again"} {
		r := ask(f, "GET", "/ds/identity.pem")
		if text := body(t, r); r.StatusCode != http.StatusNotFound || strings.Contains(text, secret) {
			t.Errorf("%s: status %d", when, r.StatusCode)
		}
		if err := os.MkdirAll(state, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if r := ask(f, "GET", "/a/b.txt"); r.StatusCode != http.StatusOK {
		t.Errorf("status %d", r.StatusCode)
	}
}

// Another Folder knows it too, as one that takes the place of the first where the owner has
// changed its options.
func TestNeverIsKnownToFoldersThatAreOpenedLater(t *testing.T) {
	top := t.TempDir()
	state := filepath.Join(top, "state")
	write(t, top, map[string]string{"state/identity.pem": secret})
	n := never(t, state)
	_, dir := site(t, folder.Options{Never: n}, map[string]string{"a/b.txt": "b"})
	if err := os.Rename(state, filepath.Join(dir, "ds")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := folder.Open(dir, folder.Options{Never: n, Listing: true})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]int{"/ds/identity.pem": http.StatusNotFound, "/ds/": http.StatusNotFound, "/a/b.txt": http.StatusOK} {
		if r := ask(f, "GET", target); r.StatusCode != want {
			t.Errorf("%s: status %d", target, r.StatusCode)
		}
	}
}

// Another folder that is made when it is gone does not get its number, by which it is known.
func TestFolderThatComesAfterNeverIsServed(t *testing.T) {
	top := t.TempDir()
	dir, state := filepath.Join(top, "site"), filepath.Join(top, "state")
	for _, made := range []string{dir, state} {
		if err := os.Mkdir(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f, err := folder.Open(dir, folder.Options{Never: never(t, state)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"new/a.txt": "a"})
	if r := ask(f, "GET", "/new/a.txt"); r.StatusCode != http.StatusOK {
		t.Errorf("status %d", r.StatusCode)
	}
}

// A folder whose path leads into it later on is not served.
func TestFolderThatComesToLieInNever(t *testing.T) {
	top := t.TempDir()
	write(t, top, map[string]string{"state/certificates/key.pem": secret, "site/a.txt": "a"})
	now := filepath.Join(top, "now")
	if err := os.Symlink(filepath.Join(top, "site"), now); err != nil {
		t.Skip(err)
	}
	f, err := folder.Open(now, folder.Options{Never: never(t, filepath.Join(top, "state"))})
	if err != nil {
		t.Fatal(err)
	}
	if r := ask(f, "GET", "/a.txt"); r.StatusCode != http.StatusOK {
		t.Errorf("status %d", r.StatusCode)
	}
	if err := os.Remove(now); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(top, "state", "certificates"), now); err != nil {
		t.Fatal(err)
	}
	r := ask(f, "GET", "/key.pem")
	if text := body(t, r); r.StatusCode != http.StatusServiceUnavailable || strings.Contains(text, secret) {
		t.Errorf("status %d", r.StatusCode)
	}
}
