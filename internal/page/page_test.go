package page_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/page"
)

var example = page.Page{
	Status:     http.StatusBadGateway,
	Title:      "This service <cannot> be reached",
	Text:       "It is not there & may come back.",
	Owner:      "If it is yours, start it.",
	RetryAfter: 1500 * time.Millisecond,
}

func get(p page.Page, accept ...string) *http.Response {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Accept"] = accept
	w := httptest.NewRecorder()
	p.Write(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(b.String(), "\r\n\r\n")
	return text
}

// Who names text/html gets HTML, and everyone else text.
func TestHTMLForBrowsersOnly(t *testing.T) {
	for _, c := range []struct {
		accept []string
		html   bool
	}{
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, true}, // Firefox and Chromium
		{[]string{"Text/HTML"}, true},
		{[]string{"application/json", "text/html;level=1;q=0.1"}, true},
		{[]string{"application/json, text/html ; q=0.000"}, false},
		{[]string{"text/html;q=0"}, false},
		{[]string{"text/htmlx, text/*"}, false},
		{[]string{"*/*"}, false}, // curl
		{[]string{"application/json"}, false},
		{nil, false},
	} {
		kind := get(example, c.accept...).Header.Get("Content-Type")
		if want := map[bool]string{true: "text/html; charset=utf-8", false: "text/plain; charset=utf-8"}[c.html]; kind != want {
			t.Errorf("Accept %q: %s, want %s", c.accept, kind, want)
		}
	}
}

// A page is not stored, loads nothing, runs nothing, and says when to come back.
func TestPageLoadsNothingAndIsNotStored(t *testing.T) {
	resp := get(example, "text/html")
	if resp.StatusCode != 502 {
		t.Errorf("status %d", resp.StatusCode)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Retry-After": "2"} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	still := example
	still.RetryAfter = 0
	if got, ok := get(still).Header["Retry-After"]; ok {
		t.Errorf("Retry-After: %q without a time", got)
	}
}

// The texts are there in both shapes, escaped in HTML.
func TestTextsAreInBothShapes(t *testing.T) {
	html := body(t, get(example, "text/html"))
	for _, want := range []string{
		"<title>This service &lt;cannot&gt; be reached</title>", "<h1>This service &lt;cannot&gt; be reached</h1>",
		"<p>It is not there &amp; may come back.</p>", "If it is yours, start it.", "502 Bad Gateway",
		`name="viewport"`, "prefers-color-scheme:dark",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %q in %s", want, html)
		}
	}
	for _, foreign := range []string{"<script", "http://", "https://", "src=", "href="} {
		if strings.Contains(html, foreign) {
			t.Errorf("%q in %s", foreign, html)
		}
	}
	const want = "502 Bad Gateway\n\nThis service <cannot> be reached.\n\nIt is not there & may come back.\n\nIf it is yours, start it.\n"
	if text := body(t, get(example)); text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	plain := example
	plain.Owner = ""
	if html := body(t, get(plain, "text/html")); strings.Contains(html, `class="owner"`) {
		t.Errorf("an empty paragraph in %s", html)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
