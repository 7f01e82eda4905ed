package folder_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"keystay/remote/publish/folder"
)

// asNobody runs f as a user who owns nothing, where the test is run by root, to whom
// nothing is closed.
func asNobody(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	for up := filepath.Dir(dir); up != os.TempDir() && len(up) > 1; up = filepath.Dir(up) {
		os.Chmod(up, 0o755)
	}
	runtime.LockOSThread() // and never unlocked where it cannot be undone
	if err := syscall.Setfsuid(65534); err != nil {
		t.Skip(err)
	}
	defer func() {
		if syscall.Setfsuid(0) == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
}

// A file that this program may not read gets 403, and the log says why.
func TestFileThatMayNotBeReadGets403(t *testing.T) {
	var log logbook
	f, dir := site(t, folder.Options{Logger: log.logger(), SPA: true, Listing: true}, map[string]string{"a.txt": secret, "closed/b.txt": secret, "open/index.html": secret, "index.html": "top"})
	for _, name := range []string{"a.txt", "closed", "open/index.html"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(filepath.Join(dir, "closed"), 0o755)
	asNobody(t, dir, func() {
		for _, target := range []string{"/a.txt", "/closed/b.txt", "/closed/", "/open/"} {
			if res := get(f, target); res.StatusCode != 403 || strings.Contains(body(t, res), secret) {
				t.Errorf("%s: %s", target, res.Status)
			}
		}
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if n := strings.Count(log.String(), "a file in the folder cannot be read"); n != 1 || !strings.Contains(log.String(), "let this program's user read it") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	asNobody(t, dir, func() {
		if err := f.Check(t.Context()); err == nil || err.Error() != "permission denied" {
			t.Errorf("Check: %v", err)
		}
		if res := get(f, "/"); res.StatusCode != 503 {
			t.Errorf("/: %s", res.Status)
		}
	})
}

// Of the folders above, by which it is found out whether one lies in what is never to be
// served, none need be readable.
func TestFolderBelowOneThatMayOnlyBePassedIsServed(t *testing.T) {
	top := t.TempDir()
	write(t, top, map[string]string{"home/site/a.txt": "a", "home/state/certificates/a.txt": secret})
	home := filepath.Join(top, "home")
	n := never(t, filepath.Join(home, "state"))
	if err := os.Chmod(home, 0o711); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]int{"site": 200, "state/certificates": 503} {
		dir := filepath.Join(home, filepath.FromSlash(at))
		f, err := folder.Open(dir, folder.Options{Never: n})
		if err != nil {
			t.Fatal(err)
		}
		asNobody(t, home, func() {
			if res := get(f, "/a.txt"); res.StatusCode != want {
				t.Errorf("%s: %s", at, res.Status)
			}
		})
	}
}
