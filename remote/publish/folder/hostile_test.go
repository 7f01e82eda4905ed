package folder_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keystay/remote/publish/folder"
)

// hidden are files that are not served under any spelling.
var hidden = map[string]string{
	".env": secret, ".git/config": secret, "a/.htpasswd": secret, ".well-known/x": secret, "..a": secret, "...": secret,
}

// link makes a symbolic link in a folder, or skips the test.
func link(t testing.TB, dir, name, to string) {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	os.MkdirAll(filepath.Dir(p), 0o755)
	if err := os.Symlink(to, p); err != nil {
		t.Skip(err)
	}
}

// targets are paths in all the ways in which people have tried to leave a folder, or
// to see what is hidden in it.
func targets() (all []string) {
	dots := []string{"..", "%2e%2e", ".%2e", "%2E.", "..;", "..;a=b", "%252e%252e", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "..%00", "%00..", ".. ", " ..", "..%20", "....", "%uff0e%uff0e", "%EF%BC%8E%EF%BC%8E", "%e2%80%8c..", "..%e2%80%8c", "..%0a", "..%01"}
	slashes := []string{"/", "%2f", "%2F", `\`, "%5c", "%5C", "//", "%c0%af", "%252f", "/./", "%e2%88%95", "%EF%BC%8F"}
	for _, d := range dots {
		for _, s := range slashes {
			for _, tail := range []string{"secret.txt", "site-other" + s + "secret.txt"} {
				all = append(all, "/"+d+s+tail, "/a"+s+d+s+d+s+tail, s+d+s+tail, d+s+tail)
			}
		}
	}
	for _, name := range []string{".env", "%2eenv", "%2Eenv", ".ENV", ".env/", ".env%00", ".env.", ".env%20", "./.env", "a/../.env", "a/..%2f.env", ".env::$DATA", ".env%3a%3a$DATA", "%e2%80%8c.env", "%ef%bb%bf.env", ".%e2%80%8cenv", "ENV~1", ".well-known/x", "a/.htpasswd", "a/%2ehtpasswd", "a//.htpasswd", "a/./.htpasswd", "..a", "...", ".git/config", ".GIT/config", "GIT~1/config", ".git%2fconfig", ".git%5cconfig", `.git\config`, ".git", ".git/", ".git/."} {
		all = append(all, "/"+name, "//"+name, "/x/../"+name)
	}
	return append(all, "/con", "/CON.txt", "/nul", "/lpt1", "/COM%c2%b9", "/index.html.", "/index.html%20", "/index.html::$DATA", "/index.html:x",
		"/"+strings.Repeat("a/", 5000), "/"+strings.Repeat("a", 70000), "/"+strings.Repeat("../", 2000)+"secret.txt", "/"+strings.Repeat("%2e%2e/", 500)+"etc/passwd",
		"/out/secret.txt", "/out", "/out/", "/abs", "/abs/passwd", "/file", "/inner/secret.txt", "/loop", "/loop/x", "/env", "/git/config", "/up/secret.txt", "/a/deep", "/chain", "/twist/secret.txt", "/back",
		"/etc/passwd", "/c:/windows/win.ini", "/c:%5cwindows%5cwin.ini", "/%5c%5c127.0.0.1%5cshare", "//127.0.0.1/share", "/file:///etc/passwd", "/proc/self/environ")
}

// hostileSite has links of all kinds beside its files.
func hostileSite(t testing.TB, o folder.Options) *folder.Folder {
	t.Helper()
	f, dir := site(t, o, hidden)
	write(t, dir, map[string]string{"index.html": "top", "a/index.html": "in a", "a/b.txt": "b"})
	link(t, dir, "out", "..")
	link(t, dir, "abs", "/etc")
	link(t, dir, "file", "../secret.txt")
	link(t, dir, "inner", "a/../../site-other")
	link(t, dir, "loop", "loop")
	link(t, dir, "env", ".env")
	link(t, dir, "git", "./.git")
	link(t, dir, "up", "a/up2")
	link(t, dir, "a/up2", "../..")
	link(t, dir, "a/deep", "../../secret.txt")
	link(t, dir, "chain", "env")
	link(t, dir, "twist", "a/../../site/../site-other")
	link(t, dir, "back", "../site/.env")
	return f
}

// No spelling of a path, and no link, leads to what is outside of the folder or
// hidden in it.
func TestNoSpellingLeadsOutOrToWhatIsHidden(t *testing.T) {
	for name, o := range map[string]folder.Options{"plain": {}, "asked for all": {Listing: true, SPA: true}} {
		t.Run(name, func(t *testing.T) {
			f := hostileSite(t, o)
			for _, target := range targets() {
				check(t, target, get(f, target))
			}
		})
	}
}

func check(t *testing.T, target string, res *http.Response) {
	t.Helper()
	text := body(t, res)
	switch {
	case strings.Contains(text, secret), strings.Contains(text, "root:"), strings.Contains(text, ".env"), strings.Contains(text, ".git"):
		t.Errorf("%.100q: %s %q", target, res.Status, text)
	case res.StatusCode == 200 && !strings.Contains("top in a", text) && text != "b" && !strings.Contains(text, "<h1>/"):
		t.Errorf("%.100q: %s %q", target, res.Status, text)
	case res.StatusCode != 200 && res.StatusCode != 404 && res.StatusCode != 301:
		t.Errorf("%.100q: %s", target, res.Status)
	}
	if to := res.Header.Get("Location"); to != "" && !strings.HasPrefix(to, "./") {
		t.Errorf("%.100q leads to %s", target, to)
	}
}

// A link that stays in the folder is followed, to files and to folders, and up again.
func TestLinksThatStayInsideAreFollowed(t *testing.T) {
	f, dir := site(t, folder.Options{}, map[string]string{"a/b/c.txt": "c", "releases/2/index.html": "two"})
	link(t, dir, "current", "releases/2")
	link(t, dir, "a/up", "..")
	link(t, dir, "x.txt", "./a//b/./c.txt")
	for target, want := range map[string]string{"/current/": "two", "/x.txt": "c", "/a/up/a/b/c.txt": "c", "/a/up/current/index.html": "two"} {
		if got := body(t, get(f, target)); got != want {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// The owner is told of a link that is not followed.
func TestLinkThatLeadsOutIsTold(t *testing.T) {
	var log logbook
	f, dir := site(t, folder.Options{Logger: log.logger()}, nil)
	link(t, dir, "out.txt", "../secret.txt")
	for range 2 {
		if res := get(f, "/out.txt"); res.StatusCode != 404 {
			t.Error(res.Status)
		}
	}
	if strings.Count(log.String(), "leads out of the folder") != 1 || !strings.Contains(log.String(), "link=out.txt") {
		t.Error(log.String())
	}
}

// Whoever swaps files, folders and links while they are asked for gets nothing from
// outside.
func TestSwappedLinksNeverLeadOut(t *testing.T) {
	f, dir := site(t, folder.Options{Listing: true}, map[string]string{"real/secret.txt": "harmless", "real/x": "harmless"})
	way := filepath.Join(dir, "way")
	link(t, dir, "way", "real")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			os.Remove(way)
			switch i % 3 {
			case 0:
				os.Symlink("real", way)
			case 1:
				os.Symlink("..", way)
			case 2:
				os.Rename(filepath.Join(dir, "real"), way)
				os.Rename(way, filepath.Join(dir, "real"))
			}
		}
	})
	for range 1000 {
		for _, target := range []string{"/way/secret.txt", "/way/"} {
			if text := body(t, get(f, target)); strings.Contains(text, secret) || strings.Contains(text, "site-other") {
				t.Fatalf("%s: %q", target, text)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// Nothing outside or hidden is ever served, whatever the path.
func FuzzPath(f *testing.F) {
	for i, target := range targets() {
		if i%25 == 0 && len(target) < 200 { // all of them would take a fuzzer its time
			f.Add(target)
		}
	}
	served := hostileSite(f, folder.Options{Listing: true, SPA: true})
	f.Fuzz(func(t *testing.T, target string) {
		check(t, target, get(served, target))
		check(t, target, get(served, "/"+url.PathEscape(target)))
		r := httptest.NewRequest("GET", "https://xyz.relay.test/", nil)
		r.URL.Path = target // as a handler in front may leave it
		check(t, target, serve(served, r))
	})
}
