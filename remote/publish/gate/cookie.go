package gate

import (
	"net/http"
	"net/textproto"
	"strings"
)

const (
	// cookiePrefix begins the names of the gate's cookies. Browsers take a cookie of
	// such a name from this very host alone, over https, and with the path / (RFC
	// 6265bis, section 4.1.3.2).
	cookiePrefix = "__Host-keystay"
	// maxCookie is the longest cookie of the gate, in bytes; browsers keep 4096 with
	// the name.
	maxCookie = 3800
	// maxSame is how many cookies of one name are looked at; a browser sends one.
	maxSame = 4
)

// cookies returns the values of the cookies of a name in a request.
func cookies(h http.Header, name string) (values []string) {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, v, ok := strings.Cut(pair, "=")
			if ok && textproto.TrimString(n) == name && len(v) <= maxCookie && len(values) < maxSame {
				values = append(values, textproto.TrimString(v))
			}
		}
	}
	return values
}

// dropCookies takes the gate's cookies out of a request. Other cookies, and lines
// without one of the gate's, stay as they are, byte by byte.
func dropCookies(h http.Header) {
	var kept []string
	for _, line := range h["Cookie"] {
		if without, ok := withoutOwn(line); ok {
			kept = append(kept, without)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// withoutOwn returns a line of cookies without the gate's; ok is false where nothing
// is left of it.
func withoutOwn(line string) (without string, ok bool) {
	if !strings.Contains(line, cookiePrefix) {
		return line, true
	}
	var b strings.Builder
	for i, pair := range strings.Split(line, ";") {
		if strings.HasPrefix(textproto.TrimString(pair), cookiePrefix) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		} else if i > 0 {
			pair = strings.TrimLeft(pair, " \t") // it was behind one that is gone
		}
		b.WriteString(pair)
	}
	return b.String(), strings.Trim(b.String(), "; \t") != ""
}

// setCookie sets a cookie that lasts for some seconds, or removes it where there are
// none.
func setCookie(h http.Header, name, value string, seconds int) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if seconds <= 0 {
		c.MaxAge = -1
	}
	h.Add("Set-Cookie", c.String())
}
