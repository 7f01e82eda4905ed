package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/page"
	"keystay/relay/names"
)

// The pages that a visitor of the relay itself gets instead of an answer. They
// name nothing of what was asked.
var (
	noSuchName = page.Page{
		Status: http.StatusNotFound,
		Title:  "There is no such name here",
		Text:   "This relay knows nobody by the name in the address. Is it spelt right?",
		Owner:  "If it is your name: it is known once a remote has claimed it.",
	}
	isAway = page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "The device behind this name is away",
		Text:       "The name is known here, but its device is not connected now. It may be off, or offline. Try again later.",
		Owner:      "If it is your device: the log of its remote says why it is not connected.",
		RetryAfter: HoldTimeout,
	}
	notForYou = page.Page{
		Status: http.StatusForbidden,
		Title:  "This name is not for your network",
		Text:   "The device behind this name lets only some networks in, and your address is not of them.",
		Owner:  "If it is your device: --allow and --deny of its remote say who may come.",
	}
	cannotTell = page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "This relay cannot tell now",
		Text:       "It is about to restart, or cannot read its record of names. Try again in a moment.",
		RetryAfter: 5 * time.Second,
	}
	otherConnection = page.Page{
		Status: http.StatusMisdirectedRequest,
		Title:  "This connection is for another name",
		Text:   "The request names another host than the connection that it came on. Try again: that makes a new connection.",
	}
	noSuchPage = page.Page{
		Status: http.StatusNotFound,
		Title:  "There is no such page",
		Text:   "This is a relay. It has one page, which its name alone leads to.",
	}
)

// command is what publishes a device through this relay, as its policy and its
// port want it.
func (a about) command() string {
	words := []string{"remote"}
	if a.Policy != names.Closed {
		words = append(words, "--domain NAME."+a.Domain)
	}
	switch {
	case a.PublicPort != 443:
		words = append(words, "--relay "+net.JoinHostPort(a.Domain, strconv.Itoa(a.PublicPort)))
	case a.Policy == names.Closed:
		words = append(words, "--relay "+a.Domain)
	}
	if a.Policy == names.WithToken {
		words = append(words, "--token-file FILE")
	}
	return strings.Join(append(words, "--local :3000"), " ")
}

// write answers with the relay's own page. A device may hold maxNames names here.
func (a about) write(w http.ResponseWriter, maxNames int) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", welcomePolicy)
	welcome.Execute(w, struct {
		about
		Style                template.CSS
		Command, Contact     string
		MaxNames, MaxStreams int
		Hold                 time.Duration
	}{a, welcomeStyle, a.command(), strings.TrimPrefix(a.Abuse, "mailto:"), maxNames, framing.MaxStreams, HoldTimeout})
}

// welcomeStyle is all of the look of the relay's own page, which loads nothing.
const welcomeStyle = `:root{color-scheme:light dark}` +
	`body{margin:0;padding:8vh 1.5rem 3rem;font:1.0625rem/1.55 system-ui,sans-serif;background:#fff;color:#1d2125}` +
	`main{max-width:42rem;margin:0 auto;overflow-wrap:anywhere}` +
	`h1{margin:0 0 1rem;font-size:1.75rem;line-height:1.25;font-weight:600}` +
	`p{margin:0 0 1rem}` +
	`code{font:.9375rem/1.5 ui-monospace,monospace;background:#f1f3f5;padding:.1em .3em;border-radius:4px}` +
	`pre{margin:0 0 1rem;padding:.75rem 1rem;background:#f1f3f5;border-radius:6px;overflow-x:auto}` +
	`pre code{padding:0}` +
	`dl{margin:2rem 0;border-top:1px solid #dde1e5}` +
	`dt{margin-top:1rem;font-weight:600}dd{margin:.1rem 0 0}` +
	`a{color:#0b5cad}.small{color:#5b646d;font-size:.9375rem}` +
	`@media(prefers-color-scheme:dark){` +
	`body{background:#16191c;color:#e4e7ea}code,pre{background:#22272b}` +
	`dl{border-color:#33393f}a{color:#7db8f0}.small{color:#a0a9b2}}`

// welcomePolicy lets the browser take the page's own style and nothing else.
var welcomePolicy = func() string {
	sum := sha256.Sum256([]byte(welcomeStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
}()

var welcome = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Domain}}: a keystay relay</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>{{.Domain}}</h1>
<p>This is a keystay relay. Names below <code>{{.Domain}}</code> lead to devices of other people, behind their own routers.
The relay reads the name that a visitor asks for and passes the encrypted bytes on. It holds no key for any of those names and cannot read what they carry.</p>
<p>To publish what listens on port 3000 of a device of yours:</p>
<pre><code>{{.Command}}</code></pre>
<p>{{if eq .Policy "open"}}<code>NAME</code> is a word of your choice.
{{else if eq .Policy "token"}}<code>NAME</code> is a name that your token is for, and <code>FILE</code> holds the token, which the operator gives out.
{{else}}The name is made from the device's own key.
{{end}}The program <code>remote</code> is a part of keystay: take it from whoever runs this relay, or build it from keystay's source with <code>make build</code>.</p>
<dl>
<dt>Who may take a name</dt>
<dd>{{if eq .Policy "open"}}Anyone: the first to claim a name keeps it.{{else if eq .Policy "token"}}Whoever has a token from the operator. Names made from a device's key are always free.{{else}}Nobody new. Names made from a device's key are always free.{{end}}</dd>
<dt>Limits</dt>
<dd>{{.MaxNames}} names for one device, {{.MaxStreams}} connections at once on one link; a visitor of a device that is away waits {{.Hold}}.</dd>
<dt>Complaints</dt>
<dd>{{if .Abuse}}<a href="{{.Abuse}}">{{.Contact}}</a>{{else}}The operator has given no address.{{end}}</dd>
<dt>For programs</dt>
<dd><a href="/.well-known/keystay.json">keystay.json</a></dd>
</dl>
<p class="small">keystay {{.Version}}</p>
</main>
</body>
</html>
`))
