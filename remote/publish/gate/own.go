package gate

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"keystay/internal/page"
	"keystay/internal/signin"
	"keystay/internal/urlpath"
)

// The gate's own paths.
const (
	signInPath   = ownFolder + "sign-in"
	signOutPath  = ownFolder + "sign-out"
	linkFolder   = ownFolder + "link/"
	oidcPath     = ownFolder + "oidc"
	callbackPath = ownFolder + "callback" // what the provider has to know of
)

// maxForm is the longest form that is read, in bytes.
const maxForm = 16 << 10

// isOwnPath reports whether a path, in whatever spelling, may be one of the gate's own.
func isOwnPath(raw string) bool {
	path, _ := urlpath.Clean(raw)
	return isOwn(path)
}

// isOwn is isOwnPath for a path in its clean form.
func isOwn(path string) bool {
	return strings.HasPrefix(urlpath.Fold(path[:min(len(path), maxOwnPath)]), ownFolder)
}

// maxOwnPath is how much of a path is looked at for that, in bytes: characters that have
// other spellings are slow to look at, and a visitor may send many.
const maxOwnPath = 512

// own answers a request for the gate itself.
func (g *Gate) own(w http.ResponseWriter, req *http.Request, path string) {
	if len(g.rules) == 0 || rawPath(req) != path {
		show(w, req, noSuchPage)
		return
	}
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	if !read && req.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, HEAD, POST")
		show(w, req, notThisWay)
		return
	}
	if !read && new(http.CrossOriginProtection).Check(req) != nil {
		show(w, req, foreignForm)
		return
	}
	token, isLink := strings.CutPrefix(path, linkFolder)
	switch {
	case path == signInPath && read:
		g.showSignIn(w, req)
	case path == signInPath:
		g.signIn(w, req)
	case path == signOutPath && read:
		dialog{Title: "Sign out", Name: g.name, Text: "This ends your visit to " + g.name + " in this browser.", Action: signOutPath, Button: "Sign out"}.write(w, http.StatusOK)
	case path == signOutPath:
		g.signOut(w, req)
	case isLink && read:
		g.showLink(w, req, token)
	case isLink:
		g.useLink(w, req, token)
	case path == oidcPath && read:
		g.beginOIDC(w, req)
	case path == callbackPath && read:
		g.endOIDC(w, req)
	default:
		show(w, req, noSuchPage)
	}
}

var notThisWay = page.Page{
	Status: http.StatusMethodNotAllowed,
	Title:  "This is not how the page is asked for",
	Text:   "Open it in a browser.",
}

// missing returns the first rule of a path that a request does not pass and that has a
// way to sign in, or nil. Where the path is open to all, it is the first such rule at
// all: somebody has opened the page to sign in.
func (g *Gate) missing(req *http.Request, to string, has func(*rule) bool) *rule {
	path, plain := urlpath.Clean(beforeAny(to, "?#"))
	rules := g.rules // one at most
	if g.byPath {
		if !plain || isSlow(path) {
			return nil
		}
		rules = g.rulesFor(spelt(path))
	}
	if len(rules) == 0 {
		rules = g.rules
	}
	for _, r := range rules {
		if has(r) && r.session(req) == nil {
			return r
		}
	}
	return nil
}

// isFrom reports whether a visitor may try at all to pass a rule.
func (r *rule) isFrom(a netip.Addr) bool {
	return len(r.Addresses) == 0 || contains(r.Addresses, a)
}

// showSignIn shows the page to sign in on.
func (g *Gate) showSignIn(w http.ResponseWriter, req *http.Request) {
	to := local(req.URL.Query().Get("to"))
	r := g.missing(req, to, func(r *rule) bool { return r.signsIn() })
	switch {
	case r == nil:
		see(w, to)
	case !r.isFrom(address(req)):
		show(w, req, *notFromThere)
	default:
		r.signIn(to).write(w, http.StatusOK)
	}
}

// signIn looks at a name and a password, and signs their user in.
func (g *Gate) signIn(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, maxForm)
	if err := req.ParseForm(); err != nil {
		show(w, req, wrongForm)
		return
	}
	form := req.PostForm // of a body in application/x-www-form-urlencoded alone
	to, name, password := local(form.Get("to")), form.Get("user"), form.Get("password")
	r := g.missing(req, to, func(r *rule) bool { return r.Passwords != nil })
	switch {
	case r == nil:
		see(w, to)
		return
	case !r.isFrom(address(req)):
		show(w, req, *notFromThere)
		return
	case len(name) > MaxUser || len(password) > signin.MaxPassword:
		show(w, req, wrongForm)
		return
	}
	right, no := r.guess(req.Context(), address(req), name, password)
	d := r.signIn(to)
	d.User = name
	switch {
	case no != nil && no.page != nil:
		show(w, req, *no.page)
	case no != nil:
		w.Header().Set("Retry-After", seconds(no.wait))
		d.Wrong = tooMany(no.wait)
		d.write(w, http.StatusTooManyRequests)
	case !right:
		challenge(w, r, false)
		d.Wrong = "Wrong name or password."
		d.write(w, http.StatusUnauthorized)
	default:
		r.begin(w, newSession(byPassword, user{Name: name}, r.credential(byPassword, name), SessionTime))
		see(w, to)
	}
}

var wrongForm = page.Page{
	Status: http.StatusBadRequest,
	Title:  "This form is not as it should be",
	Text:   "Open the page again, and send it from there.",
}

// begin gives a browser the cookie of a session.
func (r *rule) begin(w http.ResponseWriter, s *session) {
	r.gate.log.Info("a visitor has signed in", "name", r.gate.name, "by", s.By)
	setCookie(w.Header(), r.cookieName(), r.cookie(s), int(s.left()/time.Second))
}

// signOut ends the sessions that a browser has with the name.
func (g *Gate) signOut(w http.ResponseWriter, req *http.Request) {
	for _, r := range g.rules {
		for _, text := range cookies(req.Header, r.cookieName()) {
			s := r.open(text)
			if s == nil {
				continue
			}
			if err := g.store.sessions.end(g.name, s); err != nil {
				g.log.Error("a sign-out may be forgotten when this program ends", "name", g.name, "err", err)
			}
		}
		if len(cookies(req.Header, r.cookieName())) > 0 {
			setCookie(w.Header(), r.cookieName(), "", 0)
		}
	}
	w.Header().Set("Clear-Site-Data", `"cache"`) // pages that were shown so far
	d := dialog{Title: "You are signed out", Name: g.name, Text: "To come back, sign in again.", Link: signInPath, LinkText: "Sign in"}
	for _, r := range g.rules {
		if r.oidc != nil {
			d.Notes = append(d.Notes, "You may still be signed in at "+r.oidc.host+": on a computer of others, sign out there too.")
			break
		}
	}
	d.write(w, http.StatusOK)
}

// showLink opens a link, unless that would use it up: then a page asks for it, since
// programs that look at links in messages open them too.
func (g *Gate) showLink(w http.ResponseWriter, req *http.Request, token string) {
	to := local(req.URL.Query().Get("to"))
	l, ok := g.store.readLink(g.name, token)
	switch {
	case ok && g.hasLink(req, l):
		see(w, to)
	case !ok || !g.takesLinks(req), l.once && !g.store.waits(l.id):
		show(w, req, linkOver)
	case l.once:
		dialog{
			Title: "Open " + g.name, Name: g.name,
			Text:   "This link lets one browser in, until " + l.ends.UTC().Format("2 January 2006, 15:04") + " UTC.",
			Action: req.URL.EscapedPath(), To: to, Button: "Open",
		}.write(w, http.StatusOK)
	case req.Method == http.MethodHead:
		see(w, to)
	default:
		g.beginLink(w, req, l)
		see(w, to)
	}
}

// useLink opens a link that is for one time.
func (g *Gate) useLink(w http.ResponseWriter, req *http.Request, token string) {
	req.Body = http.MaxBytesReader(w, req.Body, maxForm)
	if err := req.ParseForm(); err != nil {
		show(w, req, wrongForm)
		return
	}
	to := local(req.PostForm.Get("to"))
	l, ok := g.store.readLink(g.name, token)
	switch {
	case ok && g.hasLink(req, l):
		see(w, to)
		return
	case !ok || !g.takesLinks(req):
		show(w, req, linkOver)
		return
	}
	if l.once {
		first, err := g.store.use(l.id)
		if err != nil {
			g.log.Error("a one-time link cannot be used", "name", g.name, "err", err)
		}
		if !first {
			show(w, req, linkOver)
			return
		}
	}
	g.beginLink(w, req, l)
	see(w, to)
}

// takesLinks reports whether a rule of the gate lets a visitor in by a link.
func (g *Gate) takesLinks(req *http.Request) bool {
	for _, r := range g.rules {
		if r.Links && r.isFrom(address(req)) {
			return true
		}
	}
	return false
}

// hasLink reports whether a browser needs the link no more.
func (g *Gate) hasLink(req *http.Request, l link) bool {
	n := 0
	for _, r := range g.rules {
		if r.Links && r.isFrom(address(req)) {
			n++
			if s := r.session(req); s == nil || !s.covers(l) {
				return false
			}
		}
	}
	return n > 0
}

// beginLink signs a browser in that has opened a link, until the link ends.
func (g *Gate) beginLink(w http.ResponseWriter, req *http.Request, l link) {
	for _, r := range g.rules {
		if old := r.session(req); r.Links && r.isFrom(address(req)) && (old == nil || !old.covers(l)) {
			s := newSession(byLink, user{}, r.credential(byLink, ""), time.Until(l.ends))
			s.Ends, s.Link = l.ends.Unix(), l.id
			r.begin(w, s)
		}
	}
}
