package publish

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"keystay/internal/budget"
	"keystay/internal/testnet"
)

// All visitors together have so many connections to the service. Each may have one
// whatever others have, and waits for more until some are closed, or nobody needs
// them any more.
func TestLocalConnectionsOfAllVisitorsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }))
	target := &Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: "tcp", Addresses: []string{ln.Addr().String()}}
	b := NewBudgets(0)
	s := NewSite("x.test", SiteConfig{Routes: []Route{{Path: "/", Target: target}}, Budgets: b})
	service := s.table.Load().routes[0].service
	const places = 4 // as many as each visit may have anyway
	b.locals = budget.New(places * localPlace)
	dial := func(p *pool) net.Conn {
		t.Helper()
		c, err := p.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	greedy, other := s.newVisit().begin(service), s.newVisit().begin(service)
	greedy.done()
	other.done()
	var conns []net.Conn
	for range 1 + places {
		conns = append(conns, dial(greedy))
	}
	conns = append(conns, dial(other))
	if b.locals.Used() != b.locals.Limit() {
		t.Errorf("%d places are taken, want %d", b.locals.Used()/localPlace, places)
	}
	ctx, leave := context.WithCancel(t.Context())
	got := make(chan error, 1)
	more := func(ctx context.Context) {
		c, err := other.dial(ctx)
		if err == nil {
			conns = append(conns, c)
		}
		got <- err
	}
	go more(ctx)
	leave()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("one too many, and then nobody waits: %v", err)
	}
	go more(t.Context())
	conns[1].Close()
	if err := <-got; err != nil {
		t.Errorf("when one of somebody else is closed: %v", err)
	}
	go more(t.Context())
	other.visit.end()
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a visitor who has left: %v", err)
	}
	greedy.visit.end()
	for _, c := range conns {
		c.Close()
	}
	if b.locals.Used() != 0 || greedy.visit.one.Load() || other.visit.one.Load() {
		t.Errorf("%d places are left, at the end", b.locals.Used()/localPlace)
	}
}

// Where there are no more connections to be had, one that a visitor does not use makes
// room for one of its own to another service.
func TestUnusedConnectionMakesRoomForAnotherService(t *testing.T) {
	b := NewBudgets(0)
	b.locals = budget.New(0) // each visit has one, and no more
	var routes []Route
	for _, path := range []string{"/a", "/b"} {
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "of "+path) }))
		t.Cleanup(service.Close)
		u, _ := url.Parse(service.URL)
		routes = append(routes, Route{Path: path, Target: &Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}})
	}
	s := NewSite("x.test", SiteConfig{Routes: routes, Budgets: b})
	v := s.newVisit()
	defer v.end()
	for _, path := range []string{"/a", "/b", "/a"} {
		r := httptest.NewRequest("GET", "https://x.test"+path, nil)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(context.WithValue(t.Context(), visitKey{}, v)))
		if got := w.Body.String(); got != "of "+path {
			t.Errorf("%s: %d %q", path, w.Code, got)
		}
	}
}
