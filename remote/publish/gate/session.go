package gate

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

const (
	// SessionTime is how long a visitor stays signed in that has given a password.
	SessionTime = 7 * 24 * time.Hour
	// OIDCTime is how long one does whom a provider has vouched for: then it is asked
	// again.
	OIDCTime = 12 * time.Hour
)

// The ways to be signed in that a cookie tells of.
const (
	byPassword = "password"
	byLink     = "link"
	byOIDC     = "oidc"
)

// A user is what is known of a visitor that has signed in.
type user struct {
	Name   string   `json:"n,omitempty"`
	Email  string   `json:"m,omitempty"`
	Groups []string `json:"g,omitempty"`
}

// A session is what a cookie says. The cookie is its JSON and the signature of it, with
// the public name and the rule that it is for.
type session struct {
	By   string `json:"b"`
	User user   `json:"u"`
	// ID tells the session apart from others of the user.
	ID string `json:"i"`
	// Began is in microseconds, Ends in seconds since 1970.
	Began int64 `json:"t"`
	Ends  int64 `json:"e"`
	// Link is the id of the link that it was begun with.
	Link string `json:"l,omitempty"`
	// Credential is a sum of what the user was let in by, such as the hash of its
	// password: when that changes, the session is over.
	Credential string `json:"c"`
}

// newSession begins a session that lasts for a time.
func newSession(by string, u user, credential string, d time.Duration) *session {
	id := make([]byte, 16)
	rand.Read(id)
	now := time.Now()
	return &session{By: by, User: u, ID: encode(id), Began: now.UnixMicro(), Ends: now.Add(d).Unix(), Credential: credential}
}

// left is how long the session still lasts.
func (s *session) left() time.Duration { return time.Until(time.Unix(s.Ends, 0)) }

// covers reports whether a link is of no use to whoever has the session: it was begun
// with the link, or lasts as long, or by name. A page of another site that leads to a
// link does not take a name away.
func (s *session) covers(l link) bool {
	return s.By != byLink || s.Link == l.id || s.Ends >= l.ends.Unix()
}

// cookieName is the name of the cookie with the sessions of a rule.
func (r *rule) cookieName() string { return cookiePrefix + "-" + r.id }

// cookie returns the text of a session's cookie.
func (r *rule) cookie(s *session) string {
	for {
		b, err := json.Marshal(s)
		if err != nil {
			return "" // never: all of it is text and numbers
		}
		payload := encode(b)
		text := payload + "." + encode(r.gate.store.cookies.sum(r.gate.name, r.id, payload))
		if len(text) <= maxCookie || len(s.User.Groups) == 0 {
			return text
		}
		s.User.Groups = s.User.Groups[:len(s.User.Groups)/2] // fewer groups are fewer rights
	}
}

// open reads the text of a session's cookie: nil where it is not one of this name and
// rule, or is over.
func (r *rule) open(text string) *session {
	payload, sum, ok := strings.Cut(text, ".")
	if !ok || len(text) > maxCookie {
		return nil
	}
	mac, err := decode(sum)
	if err != nil || !r.gate.store.cookies.good(mac, r.gate.name, r.id, payload) {
		return nil
	}
	b, err := decode(payload)
	if err != nil {
		return nil
	}
	var s session
	if json.Unmarshal(b, &s) != nil || s.left() <= 0 || s.Credential != r.credential(s.By, s.User.Name) || s.Credential == "" {
		return nil
	}
	if r.gate.store.sessions.over(r.gate.name, &s) {
		return nil
	}
	return &s
}

// credential is what a session is bound to that a user has begun in some way. It is
// empty where the rule has no such way or no such user.
func (r *rule) credential(by, name string) string {
	var parts []string
	switch {
	case by == byPassword && r.Passwords != nil:
		hash := r.Passwords.Credential(name)
		if hash == nil {
			return ""
		}
		parts = []string{by, name, string(hash)}
	case by == byLink && r.Links:
		parts = []string{by}
	case by == byOIDC && r.oidc != nil:
		parts = append([]string{by}, r.oidc.content()...)
	default:
		return ""
	}
	return encode(r.gate.store.cookies.sum(append([]string{"credential"}, parts...)...)[:16])
}

// encode and decode are base64 for URLs without padding (RFC 4648, section 5), in one
// spelling alone.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which Go's decoder skips
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
