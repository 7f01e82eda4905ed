package gate

import (
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"keystay/internal/page"
)

// style is what the gate's pages add to the look of all pages.
const style = page.Style +
	`form{margin:1.75rem 0 0;max-width:22rem}` +
	`label{display:block;margin:0 0 .35rem;font-weight:500}` +
	`input{box-sizing:border-box;width:100%;margin:0 0 1.1rem;padding:.6rem .75rem;font:inherit;color:inherit;background:transparent;border:1px solid #8a939c;border-radius:.4rem}` +
	`button,.button{display:inline-block;box-sizing:border-box;width:100%;margin:.35rem 0 0;padding:.65rem 1rem;font:inherit;font-weight:600;text-align:center;text-decoration:none;color:#fff;background:#1f5fbf;border:1px solid #1f5fbf;border-radius:.4rem;cursor:pointer}` +
	`button:hover,.button:hover{background:#194e9d}` +
	`.second{color:#1f5fbf;background:transparent}` +
	`.second:hover{color:#fff}` +
	`input:focus-visible,button:focus-visible,.button:focus-visible,a:focus-visible{outline:3px solid #7fb0f5;outline-offset:2px}` +
	`.ways{max-width:22rem;margin:1.1rem 0 0}` +
	`.wrong{max-width:22rem;box-sizing:border-box;margin:1.5rem 0 0;padding:.65rem .85rem;color:#8c1d18;background:#fcebea;border:1px solid #e8b4b0;border-radius:.4rem}` +
	`.note{margin:1.5rem 0 0;color:#5b646d;font-size:.9375rem}` +
	`a{color:#1f5fbf}` +
	`@media(prefers-color-scheme:dark){` +
	`input{border-color:#6b747d}` +
	`button,.button{color:#0d1620;background:#8ab8f8;border-color:#8ab8f8}` +
	`button:hover,.button:hover{background:#a9cbfa}` +
	`.second{color:#8ab8f8;background:transparent}` +
	`.second:hover{color:#0d1620}` +
	`.wrong{color:#f6b5b0;background:#3a1d1c;border-color:#6e3431}` +
	`.note{color:#a0a9b2}` +
	`a{color:#8ab8f8}}`

var policy = page.FormPolicy(style)

// A dialog is a page of the gate with something to do on it.
type dialog struct {
	Title string
	Text  string
	Name  string // the public name
	Wrong string // what was wrong with what was sent

	// Passwords shows fields for a name and a password; User is in the first already.
	Passwords bool
	User      string

	// Provider is the host of a provider to sign in with, and Begin where that begins.
	Provider, Begin string

	// Action is where the form leads, To what it says of where to go then, and Button
	// what is on it.
	Action, To, Button string

	// Notes say what else there is to know.
	Notes []string

	// Link and LinkText are one way to go on without a form.
	Link, LinkText string
}

var layout = template.Must(template.New("dialog").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{{.Title}}: {{.Name}}</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .Wrong}}<p class="wrong" id="wrong" role="alert">{{.}}</p>
{{end}}{{if .Button}}<form method="post" action="{{.Action}}">
{{with .To}}<input type="hidden" name="to" value="{{.}}">
{{end}}{{if .Passwords}}<label for="user">Name</label>
<input id="user" name="user" value="{{.User}}" maxlength="256" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false" required{{if not .User}} autofocus{{end}}>
<label for="password">Password</label>
<input id="password" name="password" type="password" maxlength="1024" autocomplete="current-password" required{{if .User}} autofocus{{end}}{{if .Wrong}} aria-describedby="wrong"{{end}}>
{{end}}<button{{if not .Passwords}} autofocus{{end}}>{{.Button}}</button>
</form>
{{end}}{{if .Provider}}<p class="ways"><a class="button{{if .Button}} second{{end}}" href="{{.Begin}}">Sign in with {{.Provider}}</a></p>
{{end}}{{with .LinkText}}<p class="ways"><a href="{{$.Link}}">{{.}}</a></p>
{{end}}{{range .Notes}}<p class="note">{{.}}</p>
{{end}}<p class="status">{{.Name}}</p>
</main>
</body>
</html>
`))

// write answers a request with the page.
func (d dialog) write(w http.ResponseWriter, status int) {
	var b strings.Builder
	err := layout.Execute(&b, struct {
		dialog
		Style template.CSS
	}{d, style})
	if err != nil {
		b.Reset() // never: a Builder takes everything
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", policy)
	shut(h)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(b.String())) // a visitor who has gone gets no page
}

// shut keeps an answer of the gate to the visitor that it is for: it is not stored, and
// pages that it leads to are told its host alone, not its path, which may be a link's.
// (With no-referrer browsers would send forms with the origin null.)
func shut(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "strict-origin")
}

// The pages of requests that get nothing else.
var (
	notHere = page.Page{
		Status: http.StatusMisdirectedRequest,
		Title:  "This connection is for another name",
		Text:   "The request names another host than the one that the connection was made for.",
	}
	inDoubt = page.Page{
		Status: http.StatusBadRequest,
		Title:  "This address is in doubt",
		Text:   "Its path has a spelling that programs read in different ways, and a part of this name is not open to everybody.",
	}
	hasChanged = page.Page{
		Status: http.StatusForbidden,
		Title:  "The access to this page has just changed",
		Text:   "It was open to everybody until now. Open it again.",
	}
	noSuchPage = page.Page{
		Status: http.StatusNotFound,
		Title:  "There is nothing here",
		Text:   "No page has this address.",
	}
	notFromThere = &page.Page{
		Status: http.StatusForbidden,
		Title:  "This is not open from where you are",
		Text:   "It is for visitors from other networks.",
		Owner:  "If it is yours, look at the addresses of its gate.",
	}
	busy = &page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "Too many are signing in",
		Text:       "It is worth trying again in a moment.",
		RetryAfter: busyWait,
	}
	linkOver = page.Page{
		Status: http.StatusGone,
		Title:  "This link does not lead any further",
		Text:   "It has ended, was used before, or is not whole. Whoever sent it can make another one.",
	}
	foreignForm = page.Page{
		Status: http.StatusForbidden,
		Title:  "This form was sent by another site",
		Text:   "To sign in or out, open the page itself.",
	}
)
