package gate

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"keystay/internal/page"
)

// flowTime is how long somebody may take to sign in at a provider.
const flowTime = 10 * time.Minute

// A flow is a sign-in at a provider that has begun. It is in a cookie of the browser
// alone, so that nobody can have another browser end it.
type flow struct {
	Random string `json:"r"` // what state, nonce and verifier are made from
	To     string `json:"to"`
	Ends   int64  `json:"e"`
}

func (r *rule) flowCookie() string { return cookiePrefix + "-oidc-" + r.id }

// flowValue is a secret of a flow for one purpose.
func (r *rule) flowValue(f *flow, purpose string) string {
	return encode(r.gate.store.flows.sum(purpose, r.gate.name, r.id, f.Random))
}

// sealFlow returns the text of a flow's cookie.
func (r *rule) sealFlow(f *flow) string {
	b, err := json.Marshal(f)
	if err != nil {
		return "" // never: all of it is text and numbers
	}
	payload := encode(b)
	return payload + "." + encode(r.gate.store.flows.sum("flow", r.gate.name, r.id, payload))
}

// openFlow returns the flow of a request's cookie and of a state, or nil.
func (r *rule) openFlow(req *http.Request, state string) *flow {
	for _, text := range cookies(req.Header, r.flowCookie()) {
		payload, sum, _ := strings.Cut(text, ".")
		mac, err := decode(sum)
		if err != nil || !r.gate.store.flows.good(mac, "flow", r.gate.name, r.id, payload) {
			continue
		}
		b, err := decode(payload)
		var f flow
		if err != nil || json.Unmarshal(b, &f) != nil || time.Now().Unix() >= f.Ends {
			continue
		}
		if got, err := decode(state); err == nil && r.gate.store.flows.good(got, "state", r.gate.name, r.id, f.Random) {
			return &f
		}
	}
	return nil
}

// beginOIDC sends a browser to the provider.
func (g *Gate) beginOIDC(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	to := local(query.Get("to"))
	r := g.missing(req, to, func(r *rule) bool { return r.oidc != nil })
	switch {
	case r == nil:
		see(w, to)
		return
	case !r.isFrom(address(req)):
		show(w, req, *notFromThere)
		return
	}
	found, err := r.oidc.find(req.Context())
	if err != nil {
		show(w, req, providerAway)
		return
	}
	random := make([]byte, 16)
	rand.Read(random)
	f := &flow{Random: encode(random), To: to, Ends: time.Now().Add(flowTime).Unix()}
	options := []oauth2.AuthCodeOption{
		oidc.Nonce(r.flowValue(f, "nonce")),
		oauth2.S256ChallengeOption(r.flowValue(f, "verifier")),
	}
	if query.Get("other") != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	text := r.sealFlow(f)
	if len(text) > maxCookie { // JSON has six bytes for an ampersand
		f.To = "/"
		text = r.sealFlow(f)
	}
	setCookie(w.Header(), r.flowCookie(), text, int(flowTime/time.Second))
	see(w, r.oidc.config(found, req).AuthCodeURL(r.flowValue(f, "state"), options...))
}

// endOIDC takes a browser that comes back from the provider.
func (g *Gate) endOIDC(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	for _, r := range g.rules {
		if r.oidc == nil {
			continue
		}
		if f := r.openFlow(req, query.Get("state")); f != nil {
			setCookie(w.Header(), r.flowCookie(), "", 0)
			r.endFlow(w, req, query, f)
			return
		}
	}
	show(w, req, flowOver)
}

// endFlow signs the user in that the provider vouches for, if it is let in.
func (r *rule) endFlow(w http.ResponseWriter, req *http.Request, query url.Values, f *flow) {
	if !r.isFrom(address(req)) {
		show(w, req, *notFromThere)
		return
	}
	// The provider may say who it is (RFC 9207).
	if iss := query.Get("iss"); query.Get("error") != "" || query.Get("code") == "" || iss != "" && iss != r.oidc.Issuer {
		show(w, req, flowOver)
		return
	}
	from := address(req)
	if wait := r.gate.store.guesses.Take(from); wait > 0 { // the provider would have to answer
		(&refusal{rule: r, wait: wait}).write(w, req)
		return
	}
	select {
	case r.oidc.calls <- struct{}{}:
		defer func() { <-r.oidc.calls }()
	default:
		show(w, req, *busy)
		return
	}
	found, err := r.oidc.find(req.Context())
	if err != nil {
		show(w, req, providerAway)
		return
	}
	u, err := r.oidc.user(req.Context(), found, r.oidc.config(found, req), query.Get("code"), f)
	if err != nil {
		r.gate.log.Warn("a sign-in at the OIDC provider has failed", "name", r.gate.name, "issuer", r.oidc.Issuer, "err", err)
		show(w, req, providerSaysNo)
		return
	}
	r.gate.store.guesses.PutBack(from)
	if !r.oidc.lets(u) {
		dialog{
			Title: "This account is not let in", Name: r.gate.name,
			Text: "You are signed in at " + r.oidc.host + " as " + u.Name + ", and " + r.gate.name + " is for other accounts.",
			Link: oidcPath + "?other=1&to=" + url.QueryEscape(f.To), LinkText: "Sign in with another account",
		}.write(w, http.StatusForbidden)
		return
	}
	if !r.Header {
		u.Groups = nil // for nobody
	}
	r.begin(w, newSession(byOIDC, u, r.credential(byOIDC, u.Name), OIDCTime))
	see(w, local(f.To))
}

var (
	providerAway = page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "You cannot sign in now",
		Text:       "The provider that knows the users does not answer. It is worth trying again in a moment.",
		RetryAfter: providerPause,
	}
	providerSaysNo = page.Page{
		Status: http.StatusBadGateway,
		Title:  "You could not be signed in",
		Text:   "The provider that knows the users has not confirmed it. Go back and try again.",
		Owner:  "If it is yours, the log of the remote says why.",
	}
	flowOver = page.Page{
		Status: http.StatusForbidden,
		Title:  "You are not signed in",
		Text:   "Signing in was given up, took too long, or was begun in another browser. Open the page that you want again.",
	}
)
