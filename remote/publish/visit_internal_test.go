package publish

import (
	"context"
	"errors"
	"net"
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
	s := (&Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: "tcp", Addresses: []string{ln.Addr().String()}}).service("x.test")
	const places = 4 // as many as each visit may have anyway
	s.locals = budget.New(places * localPlace)
	dial := func(v *visit) net.Conn {
		t.Helper()
		c, err := v.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	greedy, other := s.newVisit(), s.newVisit()
	var conns []net.Conn
	for range 1 + places {
		conns = append(conns, dial(greedy))
	}
	conns = append(conns, dial(other))
	if s.locals.Used() != s.locals.Limit() {
		t.Errorf("%d places are taken, want %d", s.locals.Used()/localPlace, places)
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
	other.end()
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a visitor who has left: %v", err)
	}
	greedy.end()
	for _, c := range conns {
		c.Close()
	}
	if s.locals.Used() != 0 || greedy.one.Load() || other.one.Load() {
		t.Errorf("%d places are left, at the end", s.locals.Used()/localPlace)
	}
}
