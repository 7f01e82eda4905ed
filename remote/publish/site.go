package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/fields"
	"keystay/internal/urlpath"
)

// A Site is the HTTP visitors of one name: it hands each request on to the route
// that its path has. Make it with NewSite.
type Site struct {
	domain    string
	budgets   *Budgets
	statement func() ([]byte, error)                        // nil for none
	question  func(context.Context, []byte) ([]byte, error) // nil for none
	observer  func(*http.Request) func(Answer)              // nil for none

	table atomic.Pointer[table] // the routes now; requests under way have that of their beginning

	mu       sync.Mutex
	visits   map[net.Conn]*visit
	services map[serviceKey]*service // of the routes now
	changed  chan struct{}           // closed at the next Set
}

// A SiteConfig is what a Site does.
type SiteConfig struct {
	// Routes are where requests go by their path. A path that no route has is
	// answered with 404. With any routes but a single one for "/", requests whose
	// path services may read in different ways get 400, see internal/urlpath.
	Routes []Route

	// Gate, if it is not nil, returns the handler that sees each request first, and
	// gives those that may pass to next, with a ResponseWriter that unwraps to its
	// own. Fields of the visitor's that only a front may set are not there any more;
	// fields that the gate sets get to the service.
	Gate func(next http.Handler) http.Handler

	// Inspect, if it is not nil, returns the handler that sees each request behind the
	// gate, and its answer: also those that no route has, and those of [Site.Again].
	// It gives each to next, with a ResponseWriter that unwraps to its own. Where that
	// ResponseWriter has a method
	//
	//	Switched(visitor net.Conn, answer http.Header) net.Conn
	//
	// it is called when the service has switched protocols, as for a WebSocket, and
	// returns what stands for the visitor's connection from then on; it has to pass
	// CloseWrite on. Without Inspect nothing stands in between.
	Inspect func(next http.Handler) http.Handler

	// Budgets are what the visitors may take. Sites of a process share them. NewSite
	// alone looks at it; nil means budgets of its own.
	Budgets *Budgets

	// Statement, if it is not nil, returns the document to answer with at
	// /.well-known/keystay. Neither the gate nor a route sees requests for it: it says
	// nothing of the service, and people who check it may have no way past the gate. An
	// error is answered with 503. Statement is called by several goroutines at once.
	// NewSite alone looks at it.
	Statement func() ([]byte, error)

	// Question, if it is not nil, answers what other remotes post to
	// /.well-known/keystay/probe, of 4 KiB at most; neither the gate nor a route sees that.
	// Its error is answered with 403. Question is called by several goroutines at once.
	// NewSite alone looks at it.
	Question func(ctx context.Context, question []byte) (answer []byte, err error)

	// Observer, if it is not nil, is called with each request as the visitor has sent it,
	// before the gate. It returns a function that is called with the answer twice: when
	// there is a head, and at the end; where there is no head before the end, at the end
	// alone. A nil function is not called. Observer changes nothing and keeps nothing of
	// the request. It is called by several goroutines at once, and each waits for it.
	// NewSite alone looks at it.
	Observer func(*http.Request) func(Answer)
}

// Check looks for mistakes in a configuration.
func (c SiteConfig) Check() error {
	seen := make(map[string]bool)
	for i := range c.Routes {
		r := &c.Routes[i]
		if err := r.Check(); err != nil {
			return err
		}
		if seen[r.Path] {
			return fmt.Errorf("route %q: it is there twice", r.Path)
		}
		seen[r.Path] = true
	}
	if len(c.Routes) == 0 {
		return errors.New("a site without routes")
	}
	return nil
}

// NewSite returns the site of a public name, as a host name in lower case. It
// panics if c does not pass its Check.
func NewSite(domain string, c SiteConfig) *Site {
	s := &Site{domain: domain, budgets: c.Budgets, statement: c.Statement, question: c.Question, observer: c.Observer, visits: make(map[net.Conn]*visit), changed: make(chan struct{})}
	if s.budgets == nil {
		s.budgets = NewBudgets(0)
	}
	s.Set(c)
	return s
}

// Set takes up a changed configuration for the requests that come from now on, and
// cuts nothing: requests under way, WebSockets among them, keep their routes. A Target
// that is in both configurations, with the same timeouts, keeps its connections. Set
// panics if c does not pass its Check.
func (s *Site) Set(c SiteConfig) {
	if err := c.Check(); err != nil {
		panic("publish: " + err.Error())
	}
	s.mu.Lock()
	old := s.services
	s.services = make(map[serviceKey]*service)
	s.table.Store(newTable(c, s.table.Load(), func(r *Route) *service {
		k := serviceKey{r.Target, r.ConnectTimeout, r.AnswerTimeout}
		if s.services[k] == nil {
			s.services[k] = old[k]
		}
		if s.services[k] == nil {
			s.services[k] = newService(k, s.domain)
		}
		return s.services[k]
	}))
	close(s.changed)
	s.changed = make(chan struct{})
	visits := slices.Collect(maps.Values(s.visits))
	for k, gone := range old {
		if s.services[k] != gone {
			gone.gone.Store(true)
		}
	}
	s.mu.Unlock()
	for _, v := range visits {
		v.leave()
	}
}

// Server returns an HTTP server around the site. Serve it on Visitors of a
// listener whose connections are TLS, ended here. Its ConnContext and ConnState
// are taken: whoever sets others calls these.
func (s *Site) Server() *http.Server {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes,
		IdleTimeout:       3 * time.Minute,

		DisableGeneralOptionsHandler: true, // OPTIONS * is the service's to answer

		// Its lines carry visitors' addresses, and what they sent.
		ErrorLog:    log.New(io.Discard, "", 0),
		ConnContext: s.connContext,
		ConnState:   s.connState,
	}
	s.serveHTTP2(srv)
	return srv
}

// connContext is the http.Server's ConnContext.
func (s *Site) connContext(ctx context.Context, c net.Conn) context.Context {
	v := s.newVisit()
	s.mu.Lock()
	s.visits[c] = v
	s.mu.Unlock()
	return context.WithValue(withConn(ctx, c), visitKey{}, v)
}

// connState is the http.Server's ConnState.
func (s *Site) connState(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	s.mu.Lock()
	v := s.visits[c]
	delete(s.visits, c)
	s.mu.Unlock()
	if v != nil {
		v.end()
	}
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.observer != nil {
		s.observe(w, r)
		return
	}
	s.serve(w, r)
}

func (s *Site) serve(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	x.visit = s.visitOf(r)
	if x.visitor != nil {
		defer x.visitor.served()
	}
	size := headSize(r, x.head)
	if !x.visit.takeHead(size) {
		x.overload()
		return
	}
	defer x.visit.putHead(size)
	if x.head.codingIn10 {
		x.refuseRest(malformed("HTTP/1.0 has no Transfer-Encoding."))
		return
	}
	no := x.openTunnel()
	defer x.closeTunnel()
	if no == nil {
		no = refusal(r, s.domain)
	}
	if no != nil {
		if no.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110, section 15.5.6
		}
		no.Write(w, r)
		discardBody(w, r, r.Body)
		return
	}
	if s.asksForStatement(x) {
		s.answerStatement(w, r)
		discardBody(w, r, r.Body)
		return
	}
	if s.asksQuestion(x) {
		s.answerQuestion(w, r)
		discardBody(w, r, r.Body)
		return
	}
	x.head.dropAdded(r.Header)
	if !r.ProtoAtLeast(1, 1) {
		r.Header.Del("Upgrade") // which HTTP/1.0 does not have (RFC 9110, section 7.8)
	}
	dropUpgrade(r.Header)
	fields.DropOfFront(r.Header)
	if r.Body != http.NoBody && r.Trailer == nil {
		r.Trailer = make(http.Header) // net/http fills it in, announced or not
	}
	defer x.breakOff()
	body := r.Body
	s.table.Load().begin(x)
	if x.route == nil { // no service has had it
		discardBody(w, r, body)
	}
}

// begin gives a request to the gate and to what inspects it, if there is one.
func (t *table) begin(x *exchange) {
	switch {
	case t.gated != nil:
		dropNamed(x.request.Header)
		x.pass(t.gated)
	case t.inspected != nil:
		x.pass(t.inspected)
	default:
		t.serve(x)
	}
}

// pass gives a request to a handler that stands before the routes.
func (x *exchange) pass(h http.Handler) {
	r := x.request
	h.ServeHTTP(x.ResponseWriter, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

// admitted takes a request that the gate has let through, and that was inspected.
func (t *table) admitted(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	if trailer := x.request.Trailer; trailer != nil {
		r.Trailer = trailer // the map that net/http fills in, and no clone
	}
	x.ResponseWriter, x.request = w, r
	t.serve(x)
}

// serve hands a request on by its path.
func (t *table) serve(x *exchange) {
	path, _, _ := urlpath.Target(x.request) // it has been checked
	r, no := t.find(path)
	switch {
	case no != nil:
		no.Write(x.ResponseWriter, x.request)
	case r.service == nil:
		r.handle(x.ResponseWriter, x.request)
	case r.health != nil && r.health.down.Load():
		r.health.page().Write(x.ResponseWriter, x.request)
	default:
		x.route = r
		t.keepInside(r, x.request.Header)
		r.service.serve(x)
	}
}
