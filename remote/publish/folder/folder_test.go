package folder_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/remote/publish"
	"keystay/remote/publish/folder"
)

func ExampleOpen() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	os.WriteFile(filepath.Join(dir, "index.html"), []byte("<h1>Welcome</h1>"), 0o600)

	f, err := folder.Open(dir, folder.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := httptest.NewRecorder()
	f.ServeHTTP(answer, httptest.NewRequest("GET", "https://xyz.relay.net/", nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"), answer.Body)
	// Output: 200 text/html; charset=utf-8 <h1>Welcome</h1>
}

// Each file in the folder is served under its name, in any depth, with the type that
// its name says, and a folder by its index.html.
func TestFilesAreServed(t *testing.T) {
	f, _ := site(t, folder.Options{}, map[string]string{
		"index.html": "top", "a/index.html": "in a", "a/b/c.CSS": "css", "ä ö/%zz.txt": "odd", "x.unknown": "<html>", "README": "<html>", "empty.json": "", "a~b.js": "js", "v1.2/q;a=1&b?.txt": "signs", "a b": "space",
	})
	for target, want := range map[string]string{
		"/":                          "200 text/html; charset=utf-8 top",
		"/?q=1":                      "200 text/html; charset=utf-8 top",
		"/index.html":                "200 text/html; charset=utf-8 top",
		"/a/":                        "200 text/html; charset=utf-8 in a",
		"/a/b/c.CSS":                 "200 text/css; charset=utf-8 css",
		"/%61/b/c.CSS":               "200 text/css; charset=utf-8 css",
		"/%C3%A4%20%C3%B6/%25zz.txt": "200 text/plain; charset=utf-8 odd",
		"/x.unknown":                 "200 application/octet-stream <html>",
		"/README":                    "200 application/octet-stream <html>",
		"/empty.json":                "200 application/json ",
		"/a~b.js":                    "200 text/javascript; charset=utf-8 js",
		"/v1.2/q;a=1&b%3F.txt":       "200 text/plain; charset=utf-8 signs",
		"/a%20b":                     "200 application/octet-stream space",
	} {
		res := get(f, target)
		if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get("Content-Type"), " ", body(t, res)); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	for _, target := range []string{"/none", "/a/none/x", "/index.html/", "/index.html/x", "/a/b/", "/a/b/c.CSS/", "/A/b/c.CSS/"} {
		if res := get(f, target); res.StatusCode != 404 {
			t.Errorf("%s: %s", target, res.Status)
		}
	}
}

// A folder without the slash leads to the one with it, by a reference that stays at
// this host and below any prefix, with the query.
func TestFolderWithoutSlashLeadsToTheOneWithIt(t *testing.T) {
	f, _ := site(t, folder.Options{}, map[string]string{"a/b/index.html": "", "x:y/index.html": "", "javascript:alert(1)/index.html": "", "evil.example/index.html": ""})
	for target, want := range map[string]string{
		"/a/b":                   "./b/",
		"/a/b?x=//evil&y":        "./b/?x=//evil&y",
		"/x:y":                   "./x:y/",
		"/javascript:alert(1)":   "./javascript:alert%281%29/",
		"/evil.example":          "./evil.example/",
		"/a/b?%0d%0aSet-Cookie:": "./b/?%0d%0aSet-Cookie:",
	} {
		res := get(f, target)
		if got := res.Header.Get("Location"); res.StatusCode != 301 || got != want {
			t.Errorf("%s: %s to %q, want %q", target, res.Status, got, want)
		}
	}
	for _, target := range []string{"//evil.example", "//evil.example/..", "/.//evil.example", "///evil.example", `/\evil.example`, "/%2fevil.example", "/%5cevil.example"} {
		if res := get(f, target); res.StatusCode != 404 || res.Header.Get("Location") != "" {
			t.Errorf("%s: %s to %q", target, res.Status, res.Header.Get("Location"))
		}
	}
}

// Files are read and nothing else.
func TestOtherMethodsGet405(t *testing.T) {
	f, _ := site(t, folder.Options{SPA: true, Listing: true}, map[string]string{"index.html": "top"})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get"} {
		if res := ask(f, method, "/"); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, Allow %q", method, res.Status, res.Header.Get("Allow"))
		}
	}
	res := ask(f, "HEAD", "/")
	if res.StatusCode != 200 || res.Header.Get("Content-Length") != "3" || body(t, res) != "" {
		t.Errorf("HEAD: %s, %v", res.Status, res.Header)
	}
}

// An application that reads the path in the browser gets its page for every path but
// those of files that are missing, and never for what is hidden.
func TestSinglePageApplicationGetsItsPage(t *testing.T) {
	files := map[string]string{"index.html": "app", "app.js": "js", "sub/x.txt": "x"}
	f, _ := site(t, folder.Options{SPA: true}, files)
	for target, want := range map[string]string{
		"/": "app", "/users": "app", "/users/": "app", "/users/john.doe": "app", "/v1.2": "app", "/sub/": "app", "/app.js": "js", "/app.js/more": "app", "/sub/x.txt": "x",
		"/missing.js": "", "/a/missing.CSS": "", "/.env": "", "/.git/config": "", "/a/../b": "", "//a": "", "/a%2fb": "",
	} {
		res := get(f, target, "Accept", "text/html")
		if got := body(t, res); want != "" && (got != want || res.StatusCode != 200) || want == "" && res.StatusCode != 404 {
			t.Errorf("%s: %s %q", target, res.Status, got)
		}
	}
	if res := get(f, "/sub"); res.StatusCode != 301 {
		t.Errorf("a folder: %s", res.Status)
	}
	plain, _ := site(t, folder.Options{}, files)
	if res := get(plain, "/users"); res.StatusCode != 404 {
		t.Errorf("without being asked for: %s", res.Status)
	}
}

// A folder that goes away gets a page that says so, and a line in the log with what
// to do; it is served again when it is back, also as another folder or behind a
// link.
func TestFolderThatGoesAwayAndComesBack(t *testing.T) {
	var log logbook
	f, dir := site(t, folder.Options{Logger: log.logger()}, map[string]string{"index.html": "one"})
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		res := get(f, "/", "Accept", "text/html")
		if text := body(t, res); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || strings.Contains(text, dir) {
			t.Errorf("%s, Retry-After %q: %s", res.Status, res.Header.Get("Retry-After"), text)
		}
	}
	if err := f.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") && !strings.Contains(err.Error(), "cannot find") {
		t.Errorf("Check: %v", err)
	}
	if n := strings.Count(log.String(), "the folder cannot be read"); n != 1 || !strings.Contains(log.String(), "check the path") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	write(t, dir, map[string]string{"index.html": "two"})
	if got := body(t, get(f, "/")); got != "two" || !strings.Contains(log.String(), "the folder can be read again") {
		t.Errorf("%q:\n%s", got, log.String())
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Base(dir)+".old", dir); err != nil {
		t.Skip(err)
	}
	if got := body(t, get(f, "/")); got != "one" {
		t.Errorf("%q", got)
	}
	os.Remove(dir)
	write(t, filepath.Dir(dir), map[string]string{filepath.Base(dir): "a file"})
	if err := f.Check(t.Context()); err == nil || err.Error() != "it is no folder" {
		t.Errorf("Check: %v", err)
	}
}

// The pages are those of all of keystay: HTML for browsers, text for programs, and
// silent about where the folder is.
func TestPagesAreQuietAboutTheInside(t *testing.T) {
	f, dir := site(t, folder.Options{}, map[string]string{"a/x.txt": ""})
	for _, accept := range []string{"text/html", "*/*"} {
		for _, target := range []string{"/none", "/a/", "/"} {
			res := get(f, target, "Accept", accept)
			text := body(t, res)
			if res.StatusCode != 404 || strings.Contains(text, dir) || strings.Contains(text, "none") || strings.Contains(text, "<html") != (accept == "text/html") {
				t.Errorf("%s: %s %s", target, res.Status, text)
			}
		}
	}
}

// A folder serves by itself, in any server, also as one of many handlers.
func TestFolderServesBelowAPrefix(t *testing.T) {
	f, _ := site(t, folder.Options{}, map[string]string{"index.html": "top", "a/index.html": "in a"})
	mux := http.NewServeMux()
	mux.Handle("/docs/", http.StripPrefix("/docs", f))
	mux.Handle("/more/docs", http.StripPrefix("/more/docs", f))
	mux.Handle("/more/docs/", http.StripPrefix("/more/docs", f))
	routed := publish.NewSite("example.com", publish.SiteConfig{Routes: []publish.Route{{Path: "/docs/", Strip: true, Handler: f}, {Path: "/more/docs/", Strip: true, Handler: f}}})
	for name, h := range map[string]http.Handler{"mux": mux, "site": routed} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewTLSServer(h) // whose client takes it for example.com
			defer srv.Close()
			for from, want := range map[string]string{
				"/docs/a": "/docs/a/ in a", "/docs": "/docs/ top", "/docs/": "/docs/ top", "/docs/index.html": "/docs/index.html top", "/more/docs": "/more/docs/ top", "/more/docs?q": "/more/docs/ top",
			} {
				res, err := srv.Client().Get("https://example.com" + from)
				if err != nil {
					t.Fatal(err)
				}
				if got := res.Request.URL.Path + " " + body(t, res); got != want {
					t.Errorf("%s: %q", from, got)
				}
				res.Body.Close()
			}
		})
	}
}
