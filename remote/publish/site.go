package publish

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Site is the HTTP visitors of one name.
type Site struct {
	domain  string
	budgets *Budgets
	service *service
	proxy   http.Handler

	mu     sync.Mutex
	visits map[net.Conn]*visit
}

func newSite(domain string, b *Budgets, t *Target) *Site {
	service := t.service(domain)
	return &Site{domain: domain, budgets: b, service: service, proxy: service.proxy(), visits: make(map[net.Conn]*visit)}
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
	if no := refusal(r, s.domain); no != nil {
		if no.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110, section 15.5.6
		}
		no.Write(w, r)
		return
	}
	dropUpgrade(r.Header)
	s.service.serve(s.proxy, x)
}
