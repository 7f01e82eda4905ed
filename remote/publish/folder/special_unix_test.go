//go:build unix

package folder_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keystay/remote/publish/folder"
)

// An entry that is neither a file nor a folder is not served, and nobody waits for it.
func TestPipesSocketsAndDevicesAreNotServed(t *testing.T) {
	f, dir := site(t, folder.Options{Listing: true}, nil)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Skip(err)
	}
	link(t, dir, "link", "pipe")
	link(t, dir, "null", "/dev/null")
	write(t, dir, map[string]string{"a.js": "js"})
	if err := syscall.Mkfifo(filepath.Join(dir, "a.js.br"), 0o644); err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("unix", filepath.Join(dir, "socket")); err == nil {
		defer ln.Close()
	}
	for _, target := range []string{"/pipe", "/pipe/", "/pipe/x", "/link", "/null", "/socket"} {
		if res := get(f, target); res.StatusCode != 404 {
			t.Errorf("%s: %s", target, res.Status)
		}
	}
	if page := body(t, get(f, "/")); strings.Contains(page, "pipe") || strings.Contains(page, "socket") {
		t.Error(page)
	}
	if got := body(t, get(f, "/a.js", "Accept-Encoding", "br")); got != "js" {
		t.Errorf("%q", got)
	}
	pipe, err := folder.Open(filepath.Join(dir, "pipe"), folder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pipe.Check(t.Context()); err == nil || err.Error() != "it is no folder" {
		t.Errorf("Check: %v", err)
	}
}

// Nobody waits for a pipe that takes the place of a folder, be it the one at the top.
func TestNobodyWaitsForPipeInPlaceOfFolder(t *testing.T) {
	f, dir := site(t, folder.Options{Listing: true}, map[string]string{"a/b/c.txt": "c"})
	for _, at := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")} {
		aside := filepath.Join(filepath.Dir(dir), "aside")
		swap := func() { must(t, os.Rename(at, aside), syscall.Mkfifo(at, 0o644)) }
		undo := func() { must(t, os.Remove(at), os.Rename(aside, at)) }
		for _, target := range []string{"/a/b/c.txt", "/a/b/", "/a/"} {
			if all := swapped(t, f, target, swap, undo); all[200] == 0 || at == dir && all[503] == 0 {
				t.Errorf("%s: statuses %v", target, all)
			}
		}
	}
}
