// Package page makes the pages that a visitor gets where there is no service's
// answer to pass on: small, plain, and silent about the inside.
package page

import (
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Page is an answer to a visitor. Its texts are shown to anyone: they name no
// local service, no address and no path.
type Page struct {
	// Status is the answer's status code, 400 to 599.
	Status int

	// Title is a short sentence without a full stop.
	Title string

	// Text says in a sentence or two what this means for the visitor.
	Text string

	// Owner says what the owner of the name can do, in one sentence; it may be
	// empty.
	Owner string

	// RetryAfter is when it is worth trying again; 0 leaves it open. The
	// header has whole seconds, rounded up.
	RetryAfter time.Duration
}

// style is all of the look. The page loads nothing: neither scripts, nor fonts,
// nor images.
const style = `:root{color-scheme:light dark}` +
	`body{margin:0;padding:12vh 1.5rem 3rem;font:1.0625rem/1.55 system-ui,sans-serif;background:#fff;color:#1d2125}` +
	`main{max-width:34rem;margin:0 auto;overflow-wrap:break-word}` +
	`h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.3;font-weight:600}` +
	`p{margin:0 0 1rem}` +
	`.owner,.status{color:#5b646d;font-size:.9375rem}` +
	`.status{margin-top:2rem;padding-top:.75rem;border-top:1px solid #dde1e5}` +
	`@media(prefers-color-scheme:dark){` +
	`body{background:#16191c;color:#e4e7ea}` +
	`.owner,.status{color:#a0a9b2}` +
	`.status{border-color:#33393f}}`

var layout = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .Owner}}<p class="owner">{{.}}</p>
{{end}}<p class="status">{{.Status}}</p>
</main>
</body>
</html>
`))

// policy lets the browser take the page's own style and nothing else.
var policy = Policy(style)

// Write answers r with the page: as HTML where r says that it takes HTML, as
// browsers do, and as plain text otherwise.
func (p Page) Write(w http.ResponseWriter, r *http.Request) {
	kind, body := "text/plain; charset=utf-8", p.text()
	h := w.Header()
	if TakesHTML(r) {
		kind, body = "text/html; charset=utf-8", p.html()
		h.Set("Content-Security-Policy", policy)
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write([]byte(body)) // a visitor who has gone gets no page
}

// status is the code with its standard name, such as "404 Not Found".
func (p Page) status() string { return strconv.Itoa(p.Status) + " " + http.StatusText(p.Status) }

func (p Page) text() string {
	paragraphs := []string{p.status(), p.Title + ".", p.Text}
	if p.Owner != "" {
		paragraphs = append(paragraphs, p.Owner)
	}
	return strings.Join(paragraphs, "\n\n") + "\n"
}

func (p Page) html() string {
	var b strings.Builder
	err := layout.Execute(&b, struct {
		Title, Text, Owner, Status string
		Style                      template.CSS
	}{p.Title, p.Text, p.Owner, p.status(), style})
	if err != nil {
		return p.text() // never: a Builder takes everything
	}
	return b.String()
}

// TakesHTML reports whether the Accept header names text/html, with a weight
// above 0 (RFC 9110, section 12.5.1). "*/*" alone is what programs send.
func TakesHTML(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(kind, ";")
			if strings.EqualFold(strings.TrimSpace(name), "text/html") && !refused(parameters) {
				return true
			}
		}
	}
	return false
}

// refused reports whether the parameters of a media range have a weight of 0.
func refused(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && q == 0
		}
	}
	return false
}
