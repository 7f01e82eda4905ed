package relay

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/hostname"
)

// wellKnown is where programs learn what a relay is.
const wellKnown = "/.well-known/keystay.json"

// challengePath is where a CA's HTTP-01 requests go (RFC 8555, section 8.3).
const challengePath = "/.well-known/acme-challenge/"

// maxChallenge is the longest answer to an HTTP-01 request that is passed on, in
// bytes. A key authorization has some 90.
const maxChallenge = 4 << 10

// challengeTimeout is how long a remote may take for an HTTP-01 request: from the
// stream's beginning until it has taken the question and its answer has come.
const challengeTimeout = 15 * time.Second

// about is what a relay says about itself in public.
type about struct {
	Keystay    int      `json:"keystay"` // version of this document
	Domain     string   `json:"domain"`
	PublicPort int      `json:"public_port"`
	Policy     Policy   `json:"policy"`
	Transports []string `json:"transports"`
	Abuse      string   `json:"abuse"`
	Version    string   `json:"version"`
}

func (s *Server) about() about {
	policy := s.Names.Policy
	if policy == "" {
		policy = Open
	}
	return about{Keystay: 1, Domain: s.Domain, PublicPort: s.publicPort(), Policy: policy,
		Transports: []string{"tls", "wss"}, Abuse: s.Abuse, Version: s.Version}
}

// siteHandler is the small site on the relay's own name.
func (s *Server) siteHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wellKnown, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		json.NewEncoder(w).Encode(s.about())
	})
	mux.HandleFunc("GET "+framing.WebSocketPath, s.serveWebSocket)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		page.Execute(w, struct {
			about
			MaxNames, MaxStreams int
			Hold                 time.Duration
		}{s.about(), MaxNamesPerIdentity, framing.MaxStreams, HoldTimeout})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, err := hostname.OfHeader(r.Host); err != nil || host != s.Domain {
			http.Error(w, "this connection is for "+s.Domain, http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// plainHandler is what port 80 answers: it passes ACME HTTP-01 on and sends
// everything else to https.
func (s *Server) plainHandler() http.Handler {
	forward := s.challengeProxy()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := hostname.OfHeader(r.Host)
		if err != nil {
			http.Error(w, "no such name on this relay", http.StatusNotFound)
			return
		}
		if name != s.Domain && s.presence.find(name, false) == nil {
			known, err := s.Names.known(name)
			if err != nil {
				http.Error(w, "the relay cannot tell now: try again", http.StatusServiceUnavailable)
				return
			}
			if !known {
				http.Error(w, "no such name on this relay", http.StatusNotFound)
				return
			}
		}
		if strings.HasPrefix(r.URL.Path, challengePath) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			switch {
			case name != s.Domain:
				forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), nameKey{}, name)))
			case s.Challenge != nil:
				s.Challenge.ServeHTTP(w, r)
			default:
				http.NotFound(w, r)
			}
			return
		}
		host := name
		if p := s.publicPort(); p != 443 {
			host = net.JoinHostPort(name, strconv.Itoa(p))
		}
		uri := r.URL.RequestURI()
		if !strings.HasPrefix(uri, "/") { // "*" or worse, such as "@example.com"
			uri = "/"
		}
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "https://"+host+uri, http.StatusPermanentRedirect)
	})
}

// nameKey is the context key of the name that an HTTP-01 request is for.
type nameKey struct{}

// challengeProxy passes an HTTP-01 request to the remote that holds the name:
// the one thing that the relay parses, since the CA asks it in the clear.
func (s *Server) challengeProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Context().Value(nameKey{}).(string)})
			r.Out.Body = nil
			r.Out.ContentLength = 0
			// Nothing but the question: no upgrade to another protocol either.
			r.Out.Header = http.Header{"User-Agent": {r.In.UserAgent()}}
		},
		Transport: &http.Transport{
			DialContext:            s.dialChallenge,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			ResponseHeaderTimeout:  10 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusSwitchingProtocols || r.ContentLength > maxChallenge {
				return errors.New("what the remote answers is no key authorization")
			}
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.LimitReader(r.Body, maxChallenge), r.Body}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.log.Debug("cannot pass an HTTP-01 request on", "err", err)
			http.Error(w, "the device cannot be reached now", http.StatusBadGateway)
		},
	}
}

// dialChallenge opens a stream for an HTTP-01 request to addr, a name and a port.
func (s *Server) dialChallenge(ctx context.Context, _, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	sess := s.presence.find(name, true)
	if sess == nil {
		return nil, errors.New("its remote is away")
	}
	local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	stream, err := sess.link.Open(challengeHeader(name, local), nil)
	if err == nil {
		stream.SetDeadline(time.Now().Add(challengeTimeout))
	}
	return stream, err
}

func challengeHeader(name string, local net.Addr) framing.Header {
	h := framing.Header{Name: name, Kind: framing.KindHTTP01}
	h.Source, h.Dest = addrPort(local), addrPort(local)
	return h
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Domain}}: a keystay relay</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:42em;margin:3em auto;padding:0 1em;color:#222;background:#fff}
code{background:#f0f0f0;padding:.1em .3em;border-radius:3px} dt{font-weight:600} dd{margin:0 0 .6em}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code{background:#2a2a2a}a{color:#8bf}}
</style>
<h1>{{.Domain}}</h1>
<p>This is a keystay relay. Names below <code>{{.Domain}}</code> lead to devices of other people, behind their own routers.
The relay reads the name that a visitor asks for and passes the encrypted bytes on. It holds no key for any of those names and cannot read what they carry.</p>
<p>To publish a device of your own: <code>remote --domain NAME.{{.Domain}} --local :3000</code></p>
<dl>
<dt>Who may take a name</dt>
<dd>{{if eq .Policy "open"}}Anyone: the first to claim a name keeps it.{{else if eq .Policy "token"}}Whoever has a token from the operator.{{else}}Nobody new. Names made from a device's key are always free.{{end}}</dd>
<dt>Limits</dt>
<dd>{{.MaxNames}} names for one device, {{.MaxStreams}} connections at once on one link; a visitor of a device that is away waits {{.Hold}}.</dd>
<dt>Complaints</dt>
<dd>{{if .Abuse}}<a href="{{.Abuse}}">{{.Abuse}}</a>{{else}}The operator has given no address.{{end}}</dd>
<dt>For programs</dt>
<dd><a href="/.well-known/keystay.json">keystay.json</a></dd>
</dl>
<p>keystay {{.Version}}</p>
</html>
`))
