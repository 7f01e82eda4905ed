package page

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"keystay/internal/plain"
	"keystay/internal/signin"
	"keystay/relay/operator"
)

// maxForm is the longest body of a form, in bytes.
const maxForm = 16 << 10

// A signInView is the page to sign in on.
type signInView struct {
	To, User, Wrong string
	Nobody          bool // there is no user at all
}

func (p *Page) showSignIn(w http.ResponseWriter, r *http.Request) {
	to := ownPath(r.URL.Query().Get("to"))
	if p.session(r) != nil {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	p.showSignInAgain(w, r, http.StatusOK, signInView{To: to})
}

func (p *Page) showSignInAgain(w http.ResponseWriter, r *http.Request, status int, v signInView) {
	v.Nobody = p.users.Load() == nil
	p.show(w, r, view{Title: "Sign in", Name: "signin", Status: status, Data: v}, nil)
}

// signIn looks at a name and a password. Each guess counts for the network that it
// comes from, and few are looked at side by side.
func (p *Page) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	v := signInView{To: ownPath(r.PostFormValue("to")), User: r.PostFormValue("user")}
	password, users := r.PostFormValue("password"), p.users.Load()
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	if users == nil || len(v.User) > signin.MaxUser || len(password) > signin.MaxPassword {
		v.User, v.Wrong = plain.Cut(v.User, signin.MaxUser), "Wrong name or password."
		p.showSignInAgain(w, r, http.StatusUnauthorized, v)
		return
	}
	if wait := p.guesses.Take(from.Addr()); wait > 0 {
		seconds := int(wait/time.Second) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		v.Wrong = fmt.Sprintf("Too many wrong passwords have come from your network. Try again in %d seconds.", seconds)
		p.showSignInAgain(w, r, http.StatusTooManyRequests, v)
		return
	}
	right := false
	if !p.hashing.Do(r.Context(), func() { right = users.Check(v.User, password) }) {
		p.guesses.PutBack(from.Addr())
		w.Header().Set("Retry-After", "1")
		v.Wrong = "Too many sign in at once. Try again in a second."
		p.showSignInAgain(w, r, http.StatusServiceUnavailable, v)
		return
	}
	if !right {
		p.tellRefused(from.Addr())
		v.Wrong = "Wrong name or password."
		p.showSignInAgain(w, r, http.StatusUnauthorized, v)
		return
	}
	p.guesses.PutBack(from.Addr())
	p.setCookie(w, r, p.sessions.begin(v.User, users.Credential(v.User)))
	p.log.Info("signed in on the page", "user", v.User, "from", from.Addr())
	p.API.Audit.Note(operator.Entry{Who: "page user " + v.User, What: "page.sign_in", On: from.Addr().String(), Result: "done"})
	http.Redirect(w, r, v.To, http.StatusSeeOther)
}

// refusedLine is how often the log is told of sign-ins that fail: anybody who reaches
// the page can cause them.
const refusedLine = 10 * time.Second

func (p *Page) tellRefused(from netip.Addr) {
	now, last := time.Now().Unix(), p.refused.Load()
	if now-last >= int64(refusedLine/time.Second) && p.refused.CompareAndSwap(last, now) {
		p.log.Warn("a sign-in on the page was refused: a wrong name or password", "from", from)
	}
}

func (p *Page) signOut(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if s := p.session(r); s != nil && s.owns(r) {
		c, _ := r.Cookie(p.cookieName())
		p.sessions.end(c.Value)
		p.setCookie(w, r, "")
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
