package inspect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

func gzipped(p []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(p)
	_ = z.Close()
	return b.Bytes()
}

func brotlied(p []byte) []byte {
	var b bytes.Buffer
	z := brotli.NewWriter(&b)
	_, _ = z.Write(p)
	_ = z.Close()
	return b.Bytes()
}

func messageOf(body []byte, fields ...string) *message {
	m := &message{header: make(http.Header), body: body, size: int64(len(body))}
	for n := 0; n < len(fields); n += 2 {
		m.header.Add(fields[n], fields[n+1])
	}
	return m
}

// Bodies are shown without their codings, in any order, as far as they are kept.
func TestCodingsAreUndone(t *testing.T) {
	text := []byte(strings.Repeat("a line of text\n", 1000))
	var z, raw bytes.Buffer
	zw := zlib.NewWriter(&z)
	_, _ = zw.Write(text)
	_ = zw.Close()
	fw, _ := flate.NewWriter(&raw, 9)
	_, _ = fw.Write(text)
	_ = fw.Close()
	for coding, body := range map[string][]byte{
		"gzip": gzipped(text), "X-GZIP": gzipped(text), "br": brotlied(text), "deflate": z.Bytes(), "Deflate": raw.Bytes(), "": text, "identity": text,
		"gzip, br": brotlied(gzipped(text)),
	} {
		if p := decoded(messageOf(body, "content-encoding", coding)); !bytes.Equal(p.Bytes, text) || p.Wrong != "" || p.Cut {
			t.Errorf("%q: %d bytes, %s", coding, len(p.Bytes), p.Wrong)
		}
	}
	m := messageOf(gzipped(text), "Content-Encoding", "gzip")
	m.body = m.body[:len(m.body)/2]
	if p := decoded(m); !bytes.HasPrefix(text, p.Bytes) || len(p.Bytes) == 0 || p.Wrong != "" || !p.Cut {
		t.Errorf("half a body: %d bytes, %q", len(p.Bytes), p.Wrong)
	}
	for coding, wrong := range map[string]string{"gzip": "not well formed", "zstd": "not known", "br, br, br, br": "too many"} {
		if p := decoded(messageOf([]byte("no such thing"), "Content-Encoding", coding)); !strings.Contains(p.Wrong, wrong) || string(p.Bytes) != "no such thing" {
			t.Errorf("%s: %+v", coding, p)
		}
	}
}

// A small body that stands for a large one is decoded up to a limit, whatever is around
// it.
func TestBombsAreNotBlownUp(t *testing.T) {
	zeros := make([]byte, 4<<20)
	once := gzipped(zeros)
	for what, m := range map[string]*message{
		"gzip":       messageOf(once, "Content-Encoding", "gzip"),
		"br":         messageOf(brotlied(zeros), "Content-Encoding", "br"),
		"gzip twice": messageOf(gzipped(once), "Content-Encoding", "gzip, gzip"),
	} {
		if p := decoded(m); len(p.Bytes) != maxDecoded || !p.Cut {
			t.Errorf("%s: %d bytes", what, len(p.Bytes))
		}
		if r := laidOut(m); len(r.Text) > 5*maxDump+1024 || !strings.Contains(r.Note, "only its first 1.0 MiB are decoded") {
			t.Errorf("%s: %d bytes, %s", what, len(r.Text), r.Note)
		}
	}
}

// JSON and forms are laid out, text is text, and all else is shown as numbers.
func TestBodiesAreLaidOut(t *testing.T) {
	var parts bytes.Buffer
	w := multipart.NewWriter(&parts)
	_ = w.WriteField("title", "A photo")
	f, _ := w.CreateFormFile("photo", "me.png")
	_, _ = f.Write([]byte("\x89PNG\x00"))
	_ = w.Close()
	for _, tt := range []struct {
		what, kind, text string
		m                *message
	}{
		{"JSON", "JSON", "{\n  \"b\": 1.00,\n  \"a\": [\n    null\n  ]\n}", messageOf([]byte(`{"b":1.00,"a":[null]}`), "Content-Type", "application/json; charset=utf-8")},
		{"JSON of a kind", "JSON", "{}", messageOf([]byte(`{}`), "content-type", "application/problem+json")},
		{"JSON that says nothing", "JSON", "[\n  1\n]", messageOf([]byte("[1]"))},
		{"no JSON", "text", "{oops", messageOf([]byte("{oops"), "Content-Type", "application/json")},
		{"a form", "form", "a = 1 2&\nb = \nc = ü\n", messageOf([]byte("a=1+2%26&b&c=%C3%BC&"), "Content-Type", "application/x-www-form-urlencoded")},
		{"no form", "text", "a=%zz", messageOf([]byte("a=%zz"), "Content-Type", "application/x-www-form-urlencoded")},
		{"a form with a file", "parts", "title = A photo\nphoto, file me.png = 5 B of application/octet-stream\n", messageOf(parts.Bytes(), "Content-Type", w.FormDataContentType())},
		{"text", "text", "<p>ä", messageOf([]byte("<p>ä"), "Content-Type", "text/html")},
		{"bytes", "bytes", "00000000  89 50 4e 47 00                                    |.PNG.|\n", messageOf([]byte("\x89PNG\x00"), "Content-Type", "image/png")},
		{"nothing", "", "", messageOf(nil)},
	} {
		if r := laidOut(tt.m); r.Kind != tt.kind || r.all() != tt.text {
			t.Errorf("%s: %s %q", tt.what, r.Kind, r.all())
		}
	}
	cut := messageOf([]byte("a text that ends in the middle of ä")[:36], "Content-Type", "text/plain")
	cut.size++
	if r := laidOut(cut); r.Kind != "text" {
		t.Error(r)
	}
}

// A command says what was sent, as a shell reads it, without the secrets.
func TestCurlSaysWhatWasSent(t *testing.T) {
	r := newRig(t, echo)
	r.visit("POST", "/a?b='c'&d=$HOME", "it's\na `body` with $signs \\ and \"quotes\"", "X-Note", "it's; rm -rf $HOME `x`", "Authorization", "Bearer abc", "Content-Length", "33", "Accept-Encoding", "gzip, br", "X-Empty", "")
	r.visit("PUT", "/bin", "\x00\x01'\\\xff%s")
	r.visit("DELETE", "/x", "")
	r.visit("HEAD", "/x", "")
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("the command is tried in sh, which is not here: ", err)
	}
	run := func(id int, query string) string {
		command := r.get(fmt.Sprintf("/x/%d/curl%s", id, query))
		out, err := exec.Command(sh, "-c", `curl() { for a in "$@"; do printf '<%s>' "$a"; done; case "$*" in *@-*) cat;; esac; }`+"\n"+command).CombinedOutput()
		if err != nil {
			t.Error(err, string(out))
		}
		return string(out)
	}
	const note = "<--header><X-Note: it's; rm -rf $HOME `x`>"
	body := "<--data-raw><it's\na `body` with $signs \\ and \"quotes\">"
	at := "<https://" + shop + "/a?b='c'&d=$HOME>"
	if got := run(1, ""); got != at+"<--compressed><--header><Authorization: (left out)><--header><X-Empty;>"+note+body {
		t.Error(got)
	}
	if got := run(1, "?secrets=1"); !strings.Contains(got, "<Authorization: Bearer abc>") {
		t.Error(got)
	}
	if got := run(2, ""); got != "<--request><PUT><https://"+shop+"/bin><--data-binary><@->\x00\x01'\\\xff%s" {
		t.Errorf("%q", got)
	}
	if got := run(3, ""); got != "<--request><DELETE><https://"+shop+"/x>" {
		t.Error(got)
	}
	if got := run(4, ""); got != "<--head><https://"+shop+"/x>" {
		t.Error(got)
	}
}

// A HAR file has the entries in order, with bodies that are read back, and is empty where
// nothing is kept.
func TestHARHasWhatIsKept(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if q.URL.Path == "/zip" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped([]byte("plain")))
			return
		}
		echo(w, q)
	})
	read := func(path string) (h har) {
		if err := json.Unmarshal([]byte(r.get(path)), &h); err != nil || h.Log.Version != "1.2" || h.Log.Entries == nil {
			t.Errorf("%v: %+v", err, h)
		}
		return h
	}
	if h := read("/har"); len(h.Log.Entries) != 0 {
		t.Error(h)
	}
	r.visit("POST", "/one?q=a%20b&c", "\x00\xff", "Content-Type", "application/x-thing", "Cookie", "a=b")
	r.visit("GET", "/zip", "")
	h := read("/har")
	if len(h.Log.Entries) != 2 || len(read("/har?id=2").Log.Entries) != 1 || len(read("/har?q=zip").Log.Entries) != 1 {
		t.Fatal(h)
	}
	one, zip := h.Log.Entries[0], h.Log.Entries[1]
	if one.Request.Method != "POST" || one.Request.URL != "https://"+shop+"/one?q=a%20b&c" || one.Request.Post.Text != "AP8=" || one.Request.Post.Encoding != "base64" ||
		fmt.Sprint(one.Request.Query) != "[{q a b} {c }]" || one.Response.Status != 200 || one.Request.BodySize != 2 {
		t.Errorf("%+v", one)
	}
	for _, f := range one.Request.Headers {
		if f.Name == "Cookie" {
			t.Error("it has a cookie")
		}
	}
	if zip.Response.Content.Text != "plain" || zip.Response.Content.Size != 5 || zip.Response.BodySize == 5 {
		t.Errorf("%+v", zip.Response)
	}
}

// Two texts are compared line by line, up to a limit.
func TestTextsAreComparedByLines(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"", "", ""},
		{"a\nb\n", "a\nb\n", " a b"},
		{"a\nb\nc", "a\nx\nc", " a-b+x c"},
		{"", "a", "+a"},
		{"a\n", "", "-a"},
		{"a\nb\nc\nd", "b\nc\ne\nd", "-a b c+e d"},
		{"x\nx\nx", "x\nx", " x x-x"},
	} {
		lines, whole := differ(tt.a, tt.b)
		var got strings.Builder
		for _, l := range lines {
			got.WriteString(l.Mark + l.Text)
		}
		if got.String() != tt.want || !whole {
			t.Errorf("%q and %q: %q", tt.a, tt.b, got.String())
		}
	}
	long := strings.Repeat("a\n", maxDiff+1)
	if lines, whole := differ("same\n"+long+"x", "same\n"+strings.ReplaceAll(long, "a", "b")); whole || len(lines) != 1 {
		t.Error(len(lines), whole)
	}
	r := newRig(t, echo)
	r.visit("POST", "/", `{"a":1,"b":2}`, "Content-Type", "application/json", "Cookie", "a=1")
	r.visit("POST", "/", `{"a":1,"b":3}`, "Content-Type", "application/json", "Cookie", "a=2", "X-New", "1")
	page := r.get("/compare?a=1&b=2")
	for _, want := range []string{"<code>  &#34;b&#34;: 2</code>", "<code>  &#34;b&#34;: 3</code>", `<th scope="row">Cookie<span class="hidden"> differs</span></th><td>` + masked, `X-New<span`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
	if w := r.ask("GET", "/compare?a=1&b=77", ""); w.Code != 404 {
		t.Error(w.Code)
	}
}
