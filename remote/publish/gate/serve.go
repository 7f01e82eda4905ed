package gate

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/page"
	"keystay/internal/urlpath"
	"keystay/remote/publish"
)

// serve answers a request, or lets it in.
func (g *Gate) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if host, err := hostname.OfHeader(r.Host); err != nil || host != g.name {
		notHere.Write(w, r)
		return
	}
	raw := rawPath(r)
	path, plain := urlpath.Clean(raw)
	if isOwn(path) {
		g.own(w, r, path)
		return
	}
	to := admitted{ctx: r.Context(), asked: newAsked(r, path, plain)}
	rules, ok := g.rulesOf(to.asked)
	if !ok {
		inDoubt.Write(w, r)
		return
	}
	for _, rule := range rules {
		to.asked.passes = append(to.asked.passes, rule.id)
	}
	defer to.end()
	if len(rules) == 0 && !to.watch(g, &running{}) {
		hasChanged.Write(w, r)
		return
	}
	for _, rule := range rules {
		if no := rule.admit(r, &to); no != nil {
			no.write(w, r)
			return
		}
	}
	if len(g.rules) > 0 {
		dropCookies(r.Header)
	}
	if to.basic || g.hasSeen(r) {
		delete(r.Header, "Authorization")
	}
	publish.TellUser(r.Header, to.fields())
	next.ServeHTTP(w, r.WithContext(to.ctx))
}

// Admitted is what is known of a request by the rules that it has passed.
type admitted struct {
	asked *asked
	ctx   context.Context // of the request from now on
	stops []func()
	user  *user // of the first rule that tells it
	basic bool  // the password in Authorization was for the gate
}

// watch makes the request end when the sign-in or the link ends that has let it in, or
// when the gate changes so that it would not. It returns false where that is so by now.
func (a *admitted) watch(g *Gate, r *running) bool {
	r.name, r.asked = g.name, a.asked
	ctx, stop, ok := g.store.sessions.watch(a.ctx, g, r)
	if ok {
		a.ctx, a.stops = ctx, append(a.stops, stop)
	}
	return ok
}

func (a *admitted) end() {
	for _, stop := range a.stops {
		stop()
	}
}

// fields are what the service is told of the user.
func (a *admitted) fields() http.Header {
	h := make(http.Header)
	if a.user == nil {
		return h
	}
	set := func(name string, values ...string) {
		for i, v := range values {
			values[i] = fieldText(v)
		}
		if all := strings.Join(values, ","); all != "" {
			h.Set(name, all)
		}
	}
	set("X-Forwarded-User", a.user.Name)
	set("X-Forwarded-Email", a.user.Email)
	set("X-Forwarded-Groups", append([]string(nil), a.user.Groups...)...)
	return h
}

// fieldText is a name as it is put into a field: with control characters, commas,
// percent signs and all beyond ASCII percent-encoded (RFC 3986, section 2.1), so that
// different names stay different.
func fieldText(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || c == ',' || c == '%' || c == ' ' && (i == 0 || i == len(s)-1) {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// A refusal is why a request was not let in by a rule.
type refusal struct {
	rule *rule
	page *page.Page    // an answer for people and programs alike
	wait time.Duration // above 0: too many guesses
}

// admit lets a request in by a rule, or says why not.
func (r *rule) admit(req *http.Request, to *admitted) *refusal {
	from := address(req)
	u, by, no := r.lets(req, from, to)
	if no != nil {
		return no
	}
	if !to.watch(r.gate, &running{rule: r.id, from: from, by: by}) { // it has ended meanwhile
		return &refusal{rule: r}
	}
	to.as(r, u)
	return nil
}

// lets returns the user of a request that a rule lets in, and by what it does, or says
// why not.
func (r *rule) lets(req *http.Request, from netip.Addr, to *admitted) (u user, by let, no *refusal) {
	switch {
	case !r.isFrom(from):
		return u, by, &refusal{rule: r, page: notFromThere}
	case r.isOpenTo(from) && (isOwnOrigin(req) || !r.signsIn()):
		to.basic = to.basic || r.isOwnBasic(req, from)
		return u, let{still: func(r *rule) bool { return r.isOpenTo(from) }}, nil
	case !r.signsIn():
		return u, by, &refusal{rule: r, page: notFromThere}
	case !isOwnOrigin(req):
		return u, by, &refusal{rule: r}
	}
	if u, by, ok := r.signedIn(req); ok {
		to.basic = to.basic || r.isOwnBasic(req, from)
		return u, by, nil
	}
	if u.Name, no = r.basic(req, from); no != nil {
		return u, by, no
	}
	to.basic = true
	hash := r.Passwords.Credential(u.Name)
	return u, let{still: func(r *rule) bool {
		return r.Passwords != nil && bytes.Equal(r.Passwords.Credential(u.Name), hash)
	}}, nil
}

// isOpenTo reports whether visitors who come from an address need not sign in.
func (r *rule) isOpenTo(from netip.Addr) bool {
	return contains(r.TrustedAddresses, from) || !r.signsIn() && contains(r.Addresses, from)
}

// signedIn returns the user that a request's certificate or cookie is of.
func (r *rule) signedIn(req *http.Request) (user, let, bool) {
	if r.certs != nil && req.TLS != nil {
		chain := req.TLS.PeerCertificates
		if u := r.certs.user(req.Context(), chain); u != nil {
			return *u, let{still: func(r *rule) bool { return r.certs != nil && r.certs.user(context.Background(), chain) != nil }}, true
		}
	}
	if s := r.session(req); s != nil {
		return s.User, let{s, func(r *rule) bool { return s.Credential == r.credential(s.By, s.User.Name) }}, true
	}
	return user{}, let{}, false
}

// as notes by whom a request was let in.
func (a *admitted) as(r *rule, u user) {
	if r.Header && a.user == nil && u.Name != "" {
		a.user = &u
	}
}

// session returns the session of a rule that a request has a cookie of, or nil.
func (r *rule) session(req *http.Request) *session {
	for _, text := range cookies(req.Header, r.cookieName()) {
		if s := r.open(text); s != nil {
			return s
		}
	}
	return nil
}

// basic returns the user whose name and password are in Authorization, or why there is
// none.
func (r *rule) basic(req *http.Request, from netip.Addr) (name string, no *refusal) {
	all := req.Header["Authorization"]
	if r.Passwords == nil || len(all) != 1 {
		return "", &refusal{rule: r}
	}
	name, password, ok := parseBasic(all[0])
	if !ok {
		return "", &refusal{rule: r}
	}
	right, known := r.look(name, password)
	if !known {
		if right, no = r.guess(req.Context(), from, name, password); no != nil {
			return "", no
		}
		r.gate.store.seen.note(r.seenKey(name, password), right)
	}
	if !right {
		return "", &refusal{rule: r}
	}
	return name, nil
}

// isOwnBasic reports whether Authorization has a password of the rule, for a visitor
// that was let in by something else: then it is not for the service. Where that cannot
// be looked at now, it is taken for one if its user is the rule's.
func (r *rule) isOwnBasic(req *http.Request, from netip.Addr) bool {
	if r.Passwords == nil {
		return false
	}
	for _, field := range req.Header["Authorization"] {
		name, password, ok := parseBasic(field)
		if !ok || r.Passwords.Credential(name) == nil {
			continue
		}
		right, known := r.look(name, password)
		if !known {
			var no *refusal
			if right, no = r.guess(req.Context(), from, name, password); no != nil {
				return true
			}
			r.gate.store.seen.note(r.seenKey(name, password), right)
		}
		if right {
			return true
		}
	}
	return false
}

// hasSeen reports whether Authorization has a password of any rule that was sent
// before: programs send it to paths of other rules, too. A service may show whether it
// was handed on, so that each other password of a rule's user counts as a guess, once;
// with too many of them it is taken for one.
func (g *Gate) hasSeen(req *http.Request) bool {
	for _, field := range req.Header["Authorization"] {
		name, password, ok := parseBasic(field)
		if !ok {
			continue
		}
		for _, r := range g.rules {
			if r.Passwords == nil || r.Passwords.Credential(name) == nil {
				continue
			}
			right, known := r.look(name, password)
			if right || !known && !g.store.seen.counted(r.seenKey(name, password), func() bool { return g.store.guesses.Take(address(req)) == 0 }) {
				return true
			}
		}
	}
	return false
}

// look returns what is known of a password that was sent with Basic.
func (r *rule) look(name, password string) (right, known bool) {
	return r.gate.store.seen.look(r.seenKey(name, password))
}

// seenKey changes when the user's password does.
func (r *rule) seenKey(name, password string) [32]byte {
	return [32]byte(r.gate.store.seen.key.sum(r.gate.name, r.id, name, password, string(r.Passwords.Credential(name))))
}

// guess looks whether a password is right, as far as the visitor's address may guess.
func (r *rule) guess(ctx context.Context, from netip.Addr, name, password string) (right bool, no *refusal) {
	store := r.gate.store
	if wait := store.guesses.Take(from); wait > 0 {
		return false, &refusal{rule: r, wait: wait}
	}
	if !store.hashing.Do(ctx, func() { right = r.Passwords.Check(name, password) }) {
		store.guesses.PutBack(from)
		return false, &refusal{rule: r, page: busy}
	}
	if right {
		store.guesses.PutBack(from)
	}
	return right, nil
}
