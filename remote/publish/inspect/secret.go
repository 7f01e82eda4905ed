package inspect

import (
	"net/http"
	"slices"
	"strings"
)

// masked stands for a value that is shown when it is asked for.
const masked = "••••••••"

// isSecret reports whether a field carries a secret of the visitor's or the service's,
// by its name: what signs people or programs in, and what signs messages.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "authentication-info", "proxy-authentication-info", "dpop",
		"sec-websocket-protocol": // in which browsers have to put tokens, since they can set no other field
		return true
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	for i, w := range words {
		switch w {
		case "auth", "jwt", "otp", "sessionid", "cookie2", "credentials", "tokens", "csrf", "xsrf", "pwd":
			return true
		case "key":
			// Not Sec-WebSocket-Key, which is a random number, nor Idempotency-Key.
			if i > 0 && slices.Contains(keyWords, words[i-1]) {
				return true
			}
		}
		if slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(w, end) }) {
			return true
		}
		if of, ok := strings.CutSuffix(w, "key"); ok && slices.Contains(keyWords, of) { // as in apikey
			return true
		}
	}
	return false
}

// secretEnds are what words for secrets end in, such as accesstoken, and keyWords what
// stands before a key that is one.
var (
	secretEnds = []string{"authorization", "cookie", "token", "secret", "password", "passwd", "passphrase", "signature", "credential", "session", "assertion", "bearer"}
	keyWords   = []string{"api", "access", "auth", "private", "secret", "license", "functions", "subscription", "service", "session", "master", "goog", "app", "client"}
)

// A field is one line of a head.
type field struct {
	Name, Value string
	Secret      bool
	At          int // which of the lines with the name
}

// fieldsOf are the lines of a head in the order of their names.
func fieldsOf(h http.Header) (list []field) {
	for name, values := range h {
		for i, v := range values {
			list = append(list, field{name, v, isSecret(name), i})
		}
	}
	slices.SortFunc(list, func(a, b field) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return a.At - b.At
	})
	return list
}

// shown is the value as it may be seen by whoever looks over a shoulder.
func (f field) shown(secrets bool) string {
	if f.Secret && !secrets {
		return masked
	}
	return f.Value
}

// hidden returns a head in which secrets are masked, unless they are asked for.
func hidden(h http.Header, secrets bool) http.Header {
	if secrets || h == nil {
		return h
	}
	out := make(http.Header, len(h))
	for _, f := range fieldsOf(h) {
		out[f.Name] = append(out[f.Name], f.shown(false))
	}
	return out
}

// unmask puts the values of a request in the place of masks that were left as they are.
func unmask(edited, was http.Header) {
	for name, values := range edited {
		for i, v := range values {
			if v != masked {
				continue
			}
			for n, old := range was {
				if strings.EqualFold(n, name) && i < len(old) {
					values[i] = old[i]
				}
			}
		}
	}
}
