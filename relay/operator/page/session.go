package page

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxSessions is how many sign-ins there are at once. One more ends the one that has
	// been unused for longest.
	maxSessions = 64
	// sessionTime is how long a sign-in lasts, and idleTime how long without anything
	// that a person does. Sign-ins are memory: a restart or a takeover ends them.
	sessionTime = 12 * time.Hour
	idleTime    = time.Hour
)

// A session is that one browser is signed in.
type session struct {
	user       string
	credential []byte // see signin.Passwords.Credential
	token      string // what each of its forms has
	ends       time.Time
	used       time.Time // guarded by sessions.mu
}

// who is how the audit log has whoever is signed in.
func (s *session) who() string { return "page user " + s.user }

// owns reports whether a form is one of the session's own.
func (s *session) owns(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(s.token)) == 1
}

// sessions are those who are signed in, by the hash of what their cookies have. The
// zero value has none.
type sessions struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]*session
}

// begin signs a user in, and returns what the cookie has.
func (l *sessions) begin(user string, credential []byte) (cookie string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = make(map[[sha256.Size]byte]*session)
	}
	var oldest [sha256.Size]byte
	for key, s := range l.by {
		if s.over(now) {
			delete(l.by, key)
		} else if o := l.by[oldest]; o == nil || s.used.Before(o.used) {
			oldest = key
		}
	}
	if len(l.by) >= maxSessions {
		delete(l.by, oldest)
	}
	cookie = rand.Text()
	l.by[sha256.Sum256([]byte(cookie))] = &session{user: user, credential: credential, token: rand.Text(), ends: now.Add(sessionTime), used: now}
	return cookie
}

// find returns the session of a cookie, or nil. Used says that a person has done
// something.
func (l *sessions) find(cookie string, used bool) *session {
	key, now := sha256.Sum256([]byte(cookie)), time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.by[key]
	if s == nil || s.over(now) {
		delete(l.by, key)
		return nil
	}
	if used {
		s.used = now
	}
	return s
}

// end ends the session of a cookie.
func (l *sessions) end(cookie string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, sha256.Sum256([]byte(cookie)))
}

func (s *session) over(now time.Time) bool {
	return now.After(s.ends) || now.After(s.used.Add(idleTime))
}

// cookieName is that of the relay's cookie: those of several relays, behind tunnels to
// several ports of one machine, come to each of them.
func (p *Page) cookieName() string {
	sum := sha256.Sum256([]byte(p.API.Domain))
	return "keystay-operator-" + hex.EncodeToString(sum[:4])
}

// session returns the session of a request, or nil.
func (p *Page) session(r *http.Request) *session {
	c, err := r.Cookie(p.cookieName())
	users := p.users.Load()
	if err != nil || users == nil {
		return nil
	}
	byItself := r.Header.Get("HX-Trigger") == "list" || r.URL.Path == "/events"
	s := p.sessions.find(c.Value, !byItself)
	if s == nil || !bytes.Equal(users.Credential(s.user), s.credential) {
		return nil
	}
	return s
}

// setCookie answers r with a cookie; with an empty value the browser is to forget it.
// One that has the page over TLS, from a proxy, sends it over TLS alone.
func (p *Page) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{Name: p.cookieName(), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionTime / time.Second)}
	c.Secure = strings.HasPrefix(r.Header.Get("Origin"), "https://")
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
