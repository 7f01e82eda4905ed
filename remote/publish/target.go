package publish

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"keystay/internal/outage"
)

// A Target is the local service that visitors are handed on to.
type Target struct {
	// URL has the scheme, http or https, and the host that an https service's
	// certificate is checked against.
	URL *url.URL

	// Network is "tcp" or "unix", and Addresses what to dial, in order.
	Network   string
	Addresses []string

	// Insecure leaves an https service's certificate unchecked.
	Insecure bool

	// Roots are trusted for an https service's certificate; nil means the
	// system's.
	Roots *x509.CertPool

	// H2C says that the service speaks HTTP/2 without TLS, and nothing else. The
	// scheme of URL is then http.
	H2C bool

	// HostHeader is the Host that the service sees: HostKeep, which is also what
	// empty means, HostTarget, or a name with or without a port.
	HostHeader string

	// TrustPrivateAddresses tells the service also addresses of visitors that
	// cannot come from the internet, such as 127.0.0.1 and 192.168.0.0/16: for a
	// relay in one's own network. Else they are "unknown", since the address is
	// the relay's word and services often trust these.
	TrustPrivateAddresses bool

	// Logger hears when the local service does not answer; nil discards.
	Logger *slog.Logger

	// Memory is that of NewBudgets for Server and Handler; a Site has budgets of its
	// own. It is not changed once visitors come.
	Memory int64

	once    sync.Once
	budgets *Budgets // with Memory, see own
	watch   sync.Once
	watches chan struct{} // see looks
	silence outage.Outage // while the service cannot be reached
	faults  faults        // of its answers
	doubts  outage.Outage // while it answers as one that speaks TLS may
}

// String is the target as --local has it.
func (t *Target) String() string {
	switch {
	case t.Network == "unix" && len(t.Addresses) > 0:
		return "unix:" + t.Addresses[0]
	case t.H2C:
		return "h2c://" + t.URL.Host
	case t.Insecure:
		return t.URL.Scheme + "+insecure://" + t.URL.Host
	}
	return t.URL.String()
}

// Server returns an HTTP server around Handler. Serve it on Visitors of a
// listener whose connections are TLS, ended here. Its ConnContext and ConnState
// are taken: whoever sets others calls these.
func (t *Target) Server(domain string) *http.Server { return t.site(domain).Server() }

// Handler hands requests for domain on to the target. Those for another host
// get 421. What changes on the way is listed in docs/forwarding.md.
func (t *Target) Handler(domain string) http.Handler { return t.site(domain) }

func (t *Target) site(domain string) *Site {
	return NewSite(domain, SiteConfig{Routes: []Route{{Path: "/", Target: t}}, Budgets: t.own()})
}

// own returns the budgets of a target that is served by itself.
func (t *Target) own() *Budgets {
	t.once.Do(func() { t.budgets = NewBudgets(t.Memory) })
	return t.budgets
}

// newProxy returns what hands the requests of exchanges on.
func (s *service) newProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:        s.rewrite,
		Transport:      speller{s},
		ModifyResponse: s.modifyAnswer,
		FlushInterval:  -1, // each piece goes out at once: SSE, long polls
		BufferPool:     new(buffers),
		ErrorLog:       log.New(io.Discard, "", 0), // it quotes the service, and failed says it better
		ErrorHandler:   s.failed,
	}
}

// modifyAnswer makes the answer that the visitor gets out of the service's.
func (t *Target) modifyAnswer(res *http.Response) error {
	x := exchangeOf(res.Request)
	x.answer, x.length = res, res.ContentLength
	dropFraming(res.Trailer)
	if x.service != nil {
		told := x.service.read(x.told)
		told.dropAdded(res.Header)
	}
	t.renameAnswer(res.Header, x.request.Host)
	x.route.addPrefix(res.Header, x.request.Host)
	x.route.Response.apply(res.Header)
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		switchProtocols(res, x)
	case x.service != nil && res.Body != http.NoBody:
		x.body = &answerBody{ReadCloser: res.Body, x: x}
		res.Body = x.body
	}
	return nil
}

// serve hands one request on.
func (s *service) serve(x *exchange) {
	if body := s.handOn(x); body != nil && x.request.ProtoMajor == 1 {
		body.leave()
	}
}

// handOn is serve up to the answer's end. It returns the visitor's body, if there is one.
func (s *service) handOn(x *exchange) (body *visitorBody) {
	r := x.request
	x.pool = x.visit.begin(s)
	defer x.pool.done()
	defer close(x.over)
	ctx := r.Context()
	if r.ProtoMajor == 1 {
		// A service may answer before it has read all of the body. Without this
		// net/http's server takes the rest of it for itself first.
		_ = http.NewResponseController(x.ResponseWriter).EnableFullDuplex()
		if x.stream != nil {
			var cancel context.CancelFunc
			ctx, cancel = halfCloseContext(ctx, x.isGone)
			defer cancel()
		}
	}
	if r.Body != http.NoBody {
		body = &visitorBody{ReadCloser: r.Body, x: x, expects: r.Header.Get("Expect") != ""}
		ctx = context.WithValue(ctx, bodyKey{}, body)
	}
	r = r.WithContext(context.WithValue(ctx, exchangeKey{}, x))
	if body != nil {
		r.Body = body
	}
	s.proxy.ServeHTTP(x, r)
	if x.tunnel != nil && x.tunnel.cut.Load() {
		panic(http.ErrAbortHandler) // resets the stream
	}
	s.doubt(x)
	return body
}
