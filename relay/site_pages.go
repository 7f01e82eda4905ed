package relay

import (
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/amount"
	"keystay/internal/page"
	"keystay/relay/limits"
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
	noPath = page.Page{
		Status: http.StatusBadRequest,
		Title:  "This request is not well formed",
		Text:   "Its target is no path.",
	}
	notThisMethod = page.Page{
		Status: http.StatusMethodNotAllowed,
		Title:  "This method is not passed on",
		Text:   "CONNECT and TRACE are for proxies, and no request for a page.",
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

// A welcomeView is what the relay's own page shows.
type welcomeView struct {
	about
	Style            template.CSS
	Command, Contact string
	Limits           []limitShown
	Stopping         bool
	Words            []passage
}

// A limitShown is one of the limits that concern whoever wants to publish.
type limitShown struct{ What, Most string }

// limitsShown are what a device and a name may take.
func (s *site) limitsShown() (list []limitShown) {
	add := func(what, most string) { list = append(list, limitShown{what, most}) }
	add("Names for one device", strconv.Itoa(s.names.NamesAtMost()))
	if s.names.Ports.Count() > 0 {
		add("TCP ports for one device", strconv.Itoa(s.names.PortsAtMost()))
	}
	add("Connections at once on one link", strconv.Itoa(framing.MaxStreams))
	if n := s.names.InForce().CertificatesPerWeek; n > 0 {
		add("New names that get a certificate, for all devices together", strconv.Itoa(n)+" a week")
	}
	if c := s.limits(); c != nil {
		for _, o := range []struct {
			of string
			limits.Owner
		}{{"name", c.Name}, {"device", c.Identity}} {
			if o.Bandwidth > 0 {
				add("Bandwidth of one "+o.of+", each way", amount.Text(o.Bandwidth)+"/s")
			}
			if o.BytesPerMonth > 0 {
				add("Bytes of one "+o.of+" in a month", amount.Text(o.BytesPerMonth))
			}
		}
	}
	add("Wait of a visitor for a device that is away", HoldTimeout.String())
	return list
}

// welcome answers with the relay's own page.
func (s *site) welcome(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", welcomePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	a := s.about()
	v := welcomeView{about: a, Style: welcomeStyle, Command: a.command(), Contact: strings.TrimPrefix(a.Abuse, "mailto:"),
		Limits: s.limitsShown(), Stopping: s.sockets.stopping()}
	if text := s.words(); text != nil {
		v.Words = passages(*text)
	}
	welcome.Execute(w, v)
}

// welcomeStyle is all of the look of the relay's own page, which loads nothing.
const welcomeStyle = `:root{color-scheme:light dark;--back:#fff;--text:#1d2125;--muted:#566069;--line:#dde1e5;--soft:#f3f5f7;--accent:#0b5cad;--good:#17692f;--good-back:#e3f4e8;--warn:#7a4d00;--warn-back:#fdf0d5}` +
	`@media(prefers-color-scheme:dark){:root{--back:#15181b;--text:#e4e7ea;--muted:#a3adb6;--line:#30363c;--soft:#20252a;--accent:#8ab8f8;--good:#7fd69a;--good-back:#16301f;--warn:#f0c060;--warn-back:#33290f}}` +
	`*{box-sizing:border-box}` +
	`body{margin:0;background:var(--back);color:var(--text);font:1.0625rem/1.6 system-ui,sans-serif}` +
	`header,main,footer{max-width:44rem;margin:0 auto;padding:0 1.25rem;overflow-wrap:anywhere}` +
	`header{padding-top:7vh}` +
	`h1{margin:.6rem 0 .5rem;font-size:2rem;line-height:1.2;font-weight:680;letter-spacing:-.01em}` +
	`h2{margin:2.25rem 0 .6rem;font-size:1.1875rem;font-weight:650}` +
	`p,ul{margin:0 0 1rem}ul{padding-left:1.25rem}` +
	`.lead{font-size:1.1875rem;line-height:1.5;color:var(--muted)}` +
	`.status{display:inline-block;margin:0;padding:.1rem .7rem;border-radius:1rem;font-size:.875rem;font-weight:600;background:var(--good-back);color:var(--good)}` +
	`.status.stops{background:var(--warn-back);color:var(--warn)}` +
	`code{font:.9375rem/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;background:var(--soft);padding:.1em .35em;border-radius:4px}` +
	`pre{margin:0 0 1rem;padding:.85rem 1rem;background:var(--soft);border:1px solid var(--line);border-radius:8px;overflow-x:auto}` +
	`pre code{padding:0;background:none}` +
	`dl{margin:0;border-bottom:1px solid var(--line)}` +
	`dl div{display:flex;justify-content:space-between;gap:1.25rem;padding:.55rem 0;border-top:1px solid var(--line)}` +
	`dt{color:var(--muted)}dd{margin:0;text-align:right;font-weight:550}` +
	`.words{margin:2rem 0 0;padding:1rem 1.25rem;border:1px solid var(--line);border-left:4px solid var(--accent);border-radius:8px}.words h2{margin-top:0}.words :last-child{margin-bottom:0}` +
	`a{color:var(--accent)}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}` +
	`footer{margin-top:3rem;padding-bottom:3rem;color:var(--muted);font-size:.9375rem}` +
	`@media(max-width:30rem){h1{font-size:1.625rem}dl div{display:block}dd{text-align:left}}`

// welcomePolicy lets the browser take the page's own style and nothing else.
var welcomePolicy = page.Policy(welcomeStyle)

var welcome = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="A keystay relay: names below {{.Domain}} lead to devices whose keys it does not have.">
<title>{{.Domain}}: a keystay relay</title>
<style>{{.Style}}</style>
</head>
<body>
<header>
{{if .Stopping}}<p class="status stops">About to restart or stop</p>{{else}}<p class="status">Serving</p>{{end}}
<h1>{{.Domain}}</h1>
<p class="lead">This is a keystay relay. Names below <code>{{.Domain}}</code> lead to devices of other people, behind their own routers.</p>
</header>
<main>
<p>The relay reads the name that a visitor asks for and passes the encrypted bytes on. It holds no key for any of those names and cannot read what they carry.</p>
{{with .TCPPorts}}<p>The TCP ports {{.}} are another matter: they lead to devices, too, and have no such encryption. The relay sees what goes over them, and can read what the two ends do not encrypt by themselves, as SSH does.</p>
{{end}}{{if .Words}}<section class="words"><h2>From the operator</h2>
{{range .Words}}{{if .Points}}<ul>{{range .Lines}}<li>{{template "line" .}}</li>
{{end}}</ul>{{else}}<p>{{range $i, $line := .Lines}}{{if $i}}<br>{{end}}{{template "line" $line}}{{end}}</p>{{end}}
{{end}}</section>
{{end}}<h2>Publish a device here</h2>
<p>To publish what listens on port 3000 of a device of yours:</p>
<pre tabindex="0"><code>{{.Command}}</code></pre>
<p>{{if eq .Policy "open"}}<code>NAME</code> is a word of your choice.
{{else if eq .Policy "token"}}<code>NAME</code> is a name that your token is for, and <code>FILE</code> holds the token, which the operator gives out.
{{else}}The name is made from the device's own key.
{{end}}The program <code>remote</code> is a part of keystay: take it from whoever runs this relay, or build it from keystay's source with <code>make build</code>.</p>
<h2>Who may take a name</h2>
<p>{{if eq .Policy "open"}}Anyone: the first to claim a name keeps it.{{else if eq .Policy "token"}}Whoever has a token from the operator. Names made from a device's key are always free.{{else}}Nobody new. Names made from a device's key are always free.{{end}}
{{if .CustomDomains}}A domain of your own can be served, too: its DNS says which device it belongs to.{{end}}</p>
<h2>Limits</h2>
<dl>
{{range .Limits}}<div><dt>{{.What}}</dt><dd>{{.Most}}</dd></div>
{{end}}</dl>
<h2>Complaints</h2>
<p>{{if .Abuse}}Does a name here show what it should not? Tell the operator, with the whole name: <a href="{{.Abuse}}">{{.Contact}}</a>. The operator cannot see or change what a device shows, but can take its name away.{{else}}The operator has given no address.{{end}}</p>
</main>
<footer>
<p>keystay {{.Version}} · for programs: <a href="/.well-known/keystay.json">keystay.json</a></p>
</footer>
</body>
</html>
{{define "line"}}{{range .}}{{if .Link}}<a href="{{.Link}}" rel="nofollow noopener noreferrer">{{.Text}}</a>{{else}}{{.Text}}{{end}}{{end}}{{end}}`))
