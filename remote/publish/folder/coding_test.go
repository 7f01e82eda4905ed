package folder_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"keystay/remote/publish/folder"
)

// coded are files with codings beside them. What is in these is no coding, so that
// it can be told apart.
var coded = map[string]string{
	"all.js": "plain", "all.js.br": "brotli!", "all.js.gz": "gzip",
	"gz.css": "plain", "gz.css.gz": "gzip",
	"none.txt":   "plain",
	"index.html": "plain", "index.html.br": "brotli!",
}

// Of a file and its codings a visitor gets what it likes best, and caches are told
// that others may get another one.
func TestVisitorGetsTheCodingItLikesBest(t *testing.T) {
	f, _ := site(t, folder.Options{}, coded)
	settle()
	tags := make(map[string]string)
	for _, c := range []struct{ target, accept, want string }{
		{"/all.js", "", "plain"},
		{"/all.js", "gzip, deflate, br, zstd", "br"},
		{"/all.js", "gzip, deflate", "gzip"},
		{"/all.js", "x-gzip", "gzip"},
		{"/all.js", "GZIP;Q=1", "gzip"},
		{"/all.js", "br;q=0.5, gzip;q=0.8", "gzip"},
		{"/all.js", "br;q=0.5, gzip;q=0.5", "br"},
		{"/all.js", "br;q=0, gzip;q=0", "plain"},
		{"/all.js", "br;q=0.3, identity;q=0.7", "plain"},
		{"/all.js", "br;q=0.3, identity;q=0.3", "plain"},
		{"/all.js", "identity;q=0, gzip;q=0.1", "gzip"},
		{"/all.js", "identity;q=0", "plain"},
		{"/all.js", "*", "plain"},
		{"/all.js", "*;q=0.5, identity;q=0.1", "br"},
		{"/all.js", "br;q=0, *;q=0.5, identity;q=0", "gzip"},
		{"/all.js", "gzip;q=nan, br;q=2, br;q=-1", "plain"},
		{"/all.js", "brotli, gz", "plain"},
		{"/all.js", ";;,,=;q, gzip", "gzip"},
		{"/gz.css", "br, gzip", "gzip"},
		{"/gz.css", "br", "plain"},
		{"/none.txt", "br, gzip", "plain"},
		{"/", "br", "br"},
		{"/all.js.gz", "br, gzip", "gzip as it is"},
	} {
		res := get(f, c.target, "Accept-Encoding", c.accept)
		wantText, wantCoding := map[string][]string{"plain": {"plain", ""}, "br": {"brotli!", "br"}, "gzip": {"gzip", "gzip"}, "gzip as it is": {"gzip", ""}}[c.want][0], c.want
		if c.want == "plain" || c.want == "gzip as it is" {
			wantCoding = ""
		}
		wantVary := "Accept-Encoding"
		if c.target == "/none.txt" || c.target == "/all.js.gz" {
			wantVary = ""
		}
		if text := body(t, res); text != wantText || res.Header.Get("Content-Encoding") != wantCoding || res.Header.Get("Vary") != wantVary {
			t.Errorf("%s for %q: %q in %q, Vary %q", c.target, c.accept, text, res.Header.Get("Content-Encoding"), res.Header.Get("Vary"))
		}
		if res.ContentLength != int64(len(wantText)) && res.Header.Get("Content-Length") != "" {
			t.Errorf("%s: Content-Length %s", c.target, res.Header.Get("Content-Length"))
		}
		tag := res.Header.Get("ETag")
		if before := tags[tag]; before != "" && before != c.target+wantCoding {
			t.Errorf("%s has the ETag of %s", c.target+wantCoding, before)
		}
		tags[tag] = c.target + wantCoding
	}
}

// A coding has the type of the file, its own length and its own validator, and parts
// of it are parts of the coding.
func TestPartsOfACodingArePartsOfIt(t *testing.T) {
	f, _ := site(t, folder.Options{}, coded)
	settle()
	res := ask(f, "HEAD", "/all.js", "Accept-Encoding", "br")
	tag := res.Header.Get("ETag")
	if res.Header.Get("Content-Length") != "7" || res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || tag == "" {
		t.Errorf("%v", res.Header)
	}
	res = get(f, "/all.js", "Accept-Encoding", "br", "Range", "bytes=0-5", "If-Range", tag)
	if text := body(t, res); res.StatusCode != 206 || text != "brotli" || res.Header.Get("Content-Range") != "bytes 0-5/7" || res.Header.Get("Content-Encoding") != "br" || res.Header.Get("Content-Length") != "6" {
		t.Errorf("%s %v %q", res.Status, res.Header, text)
	}
	// A visitor that goes on without the coding must not get the rest of it.
	res = get(f, "/all.js", "Range", "bytes=0-2", "If-Range", tag)
	if text := body(t, res); res.StatusCode != 200 || text != "plain" {
		t.Errorf("%s %q", res.Status, text)
	}
	res = get(f, "/all.js", "Accept-Encoding", "br", "If-None-Match", tag)
	if res.StatusCode != 304 || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Vary") == "" || body(t, res) != "" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	for _, header := range [][]string{{"If-Match", `"x"`}, {"Range", "bytes=99-"}} {
		res = get(f, "/all.js", append(header, "Accept-Encoding", "br")...)
		if text := body(t, res); res.StatusCode < 400 || res.Header.Get("Content-Encoding") != "" && text != "" || res.Header.Get("Content-Length") == "7" {
			t.Errorf("%v: %s %v %q", header, res.Status, res.Header, text)
		}
	}
}

// A coding that is older than its file was made of another version, and one that is
// hidden or no file is none.
func TestStaleCodingIsNotServed(t *testing.T) {
	f, dir := site(t, folder.Options{}, map[string]string{"a.js": "new", "a.js.gz": "old", "b.js": "b", "b.js.br/x": "", "c.js": "c"})
	link(t, dir, "c.js.br", "../secret.txt")
	before := long.Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "a.js.gz"), before, before); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"/a.js": "new", "/b.js": "b", "/c.js": "c"} {
		if got := body(t, get(f, target, "Accept-Encoding", "br, gzip")); got != want {
			t.Errorf("%s: %q", target, got)
		}
	}
}
