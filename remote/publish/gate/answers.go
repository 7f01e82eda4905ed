package gate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"keystay/internal/page"
)

// busyWait is when it is worth trying again where too many sign in.
const busyWait = 5 * time.Second

// write answers a request that was not let in: people get a page on which they can sign
// in, programs a line of text or JSON.
func (no *refusal) write(w http.ResponseWriter, req *http.Request) {
	switch {
	case no.page != nil:
		shut(w.Header())
		no.page.Write(w, req)
	case no.wait > 0 && isNavigation(req):
		w.Header().Set("Retry-After", seconds(no.wait))
		d := no.rule.signIn(returnOf(req))
		d.Wrong = tooMany(no.wait)
		d.write(w, http.StatusTooManyRequests)
	case no.wait > 0:
		w.Header().Set("Retry-After", seconds(no.wait))
		answer(w, req, http.StatusTooManyRequests, "too_many_tries", tooMany(no.wait))
	case isNavigation(req):
		challenge(w, no.rule, false)
		no.rule.signIn(returnOf(req)).write(w, http.StatusUnauthorized)
	default:
		// A browser would ask a person for a password whom no page has told why.
		challenge(w, no.rule, no.rule.Passwords != nil && !isFromPage(req))
		answer(w, req, http.StatusUnauthorized, "sign_in", "Sign in first: https://"+req.Host+signInPath)
	}
}

// challenge says how to sign in, which an answer 401 has to (RFC 9110, section
// 15.5.2). For programs that is Basic; browsers, which show a dialog of their own for
// that one, get a scheme that they leave to the page.
func challenge(w http.ResponseWriter, r *rule, basic bool) {
	realm := `realm="` + r.gate.name + `"`
	if basic {
		w.Header().Set("WWW-Authenticate", "Basic "+realm+`, charset="UTF-8"`)
	} else {
		w.Header().Set("WWW-Authenticate", "Cookie "+realm+`, form-action="`+signInPath+`"`)
	}
}

// answer is an answer for a program.
func answer(w http.ResponseWriter, req *http.Request, status int, code, message string) {
	shut(w.Header())
	kind, body := "text/plain; charset=utf-8", message+"\n"
	if strings.Contains(req.Header.Get("Accept"), "json") {
		b, err := json.Marshal(map[string]string{"error": code, "message": message})
		if err == nil {
			kind, body = "application/json", string(b)+"\n"
		}
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // a visitor who has gone gets no answer
}

// tooMany says to wait.
func tooMany(wait time.Duration) string {
	s := seconds(wait)
	if s == "1" {
		return "Too many tries from where you are. Wait a second."
	}
	return "Too many tries from where you are. Wait " + s + " seconds."
}

// seconds is a duration in whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// signIn is the page on which people sign in for a rule.
func (r *rule) signIn(to string) dialog {
	d := dialog{
		Title: "Sign in", Name: r.gate.name, Text: "This page is not open to everybody.",
		Action: signInPath, To: to,
	}
	if r.Passwords != nil {
		d.Passwords, d.Button = true, "Sign in"
	}
	if r.oidc != nil {
		d.Provider, d.Begin = r.oidc.host, oidcPath+"?to="+url.QueryEscape(to)
	}
	if r.Links {
		d.Notes = append(d.Notes, "If its owner has sent you a link, open that one.")
	}
	if r.certs != nil {
		d.Notes = append(d.Notes, "A client certificate that its owner trusts lets you in too: install it, close the browser, and come again.")
	}
	return d
}

// returnOf is where a visitor comes back to when it has signed in.
func returnOf(req *http.Request) string {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		if uri := req.RequestURI; strings.HasPrefix(uri, "/") {
			return local(uri)
		}
		return local(req.URL.RequestURI())
	}
	// The form that was sent is lost: the visitor begins again on the page that sent it.
	u, err := url.Parse(req.Header.Get("Referer"))
	if err != nil || !isOrigin(u.Scheme+"://"+u.Host, req.Host) {
		return "/"
	}
	return local(u.RequestURI())
}

// see sends a visitor on to a page of this host.
func see(w http.ResponseWriter, to string) {
	shut(w.Header())
	w.Header().Set("Location", ascii(to))
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusSeeOther)
}

// ascii is a URL with all beyond ASCII percent-encoded.
func ascii(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < 0x80 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// show answers with a page.
func show(w http.ResponseWriter, req *http.Request, p page.Page) {
	shut(w.Header())
	p.Write(w, req)
}
