package publish

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"

	"golang.org/x/net/http2"
)

// An HTTP/2 window is how much a sender may have on the way, so a window and the
// path's round trip bound the speed. It is also how much this process may have to
// keep for a receiver that does not read. Package net/http cannot change the
// windows of a connection later. So visitors who come early have large ones:
//
//   - From a visitor, one connection may be sent its window that the service has
//     not read, whatever the number of its requests. Windows above smallUpload
//     come out of a budget of their own, of uploadBudget at most: up to largeUpload
//     while much of it is free, then a half of that, and so on (see package budget).
//     The others are smallUpload, and less in the same way, down to leastUpload.
//   - From a service that speaks HTTP/2, a visitor's connection may be sent
//     largeAnswers, smallAnswers or leastAnswers that the visitor has not read; one
//     answer at most a fourth or an eighth of it, so that answers which a visitor
//     leaves unread do not stop its others. The first maxLarge visitors have the
//     large ones: services are near.
//   - Small windows, of both kinds, come out of one budget: half of what requests
//     may take (NewBudgets). A visitor that leaves gives its windows back. So visitors
//     may make this process hold these budgets, the large windows for answers, and
//     for each of them the least windows.
//
// HTTP/1.1 has no windows. There, TCP holds the sender back.
const (
	largeUpload  = 16 << 20
	smallUpload  = 1 << 20  // that of package net/http
	leastUpload  = 64 << 10 // that of the protocol
	uploadBudget = 128 << 20

	// maxLarge is how many visitors' connections have large windows for answers
	// at once.
	maxLarge = 4

	largeAnswers = 16 << 20
	largeAnswer  = 4 << 20

	smallAnswers = 2 << 20
	smallAnswer  = 256 << 10

	leastAnswers = 64 << 10 // that of the protocol
	leastAnswer  = 16 << 10

	// maxFrame is how long a frame of a visitor may be: the least there is, and
	// what browsers send at most. A frame of any kind is kept as a whole, beside
	// all windows; what net/http takes by itself is 1 MiB.
	maxFrame = 16 << 10
)

// A room is what windows for answers a visit has.
type room int

const (
	unasked room = iota // it has needed none so far
	least
	small
	large
)

// roomLocked returns the visit's room, and decides it the first time.
func (v *visit) roomLocked() room {
	if v.room == unasked {
		v.room = v.budgets.takeRoom()
		if v.room == small && v.windows.Take(smallAnswers, smallAnswers) == 0 {
			v.room = least
		}
	}
	return v.room
}

// takeRoom returns large for the first maxLarge visits, where there is memory for
// that many.
func (b *Budgets) takeRoom() room {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.large == maxLarge || b.windows.Limit() < maxLarge*largeAnswers {
		return small
	}
	b.large++
	return large
}

func (b *Budgets) giveBack(r room) {
	if r != large {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.large--
}

// local is for the transport to a service.
func (r room) local() *http.HTTP2Config {
	switch r {
	case large:
		return &http.HTTP2Config{MaxReceiveBufferPerConnection: largeAnswers, MaxReceiveBufferPerStream: largeAnswer}
	case least:
		return &http.HTTP2Config{MaxReceiveBufferPerConnection: leastAnswers, MaxReceiveBufferPerStream: leastAnswer}
	}
	return &http.HTTP2Config{MaxReceiveBufferPerConnection: smallAnswers, MaxReceiveBufferPerStream: smallAnswer}
}

// serveHTTP2 lets srv speak HTTP/2 with visitors, with windows as uploadOf has
// them.
func (s *Site) serveHTTP2(srv *http.Server) {
	all := &sizedServers{like: srv, by: make(map[int]func(*tls.Conn, http.Handler))}
	srv.RegisterOnShutdown(all.shutdown)
	srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, h http.Handler) { all.serve(s.uploadOf(c))(c, h) },
	}
}

// sizedServers are the servers of HTTP/2. A server has one size of windows for
// all of its connections, so there is one for each size that is needed, which
// gets the connections from another server.
type sizedServers struct {
	like *http.Server // the others are copies of it

	mu    sync.Mutex
	by    map[int]func(*tls.Conn, http.Handler)
	ends  []func() // shut them down
	ended bool
}

// serve returns what serves connections with windows of a size.
func (a *sizedServers) serve(upload int) func(*tls.Conn, http.Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if serve := a.by[upload]; serve != nil {
		return serve
	}
	sized := &http.Server{
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxVisitorStreams,
			MaxReadFrameSize:              maxFrame,
			MaxReceiveBufferPerConnection: upload,
			MaxReceiveBufferPerStream:     upload,
		},
		ReadHeaderTimeout: a.like.ReadHeaderTimeout,
		IdleTimeout:       a.like.IdleTimeout,
		MaxHeaderBytes:    a.like.MaxHeaderBytes,
		ErrorLog:          a.like.ErrorLog,
	}
	h2 := new(http2.Server)                                  //nolint:staticcheck // package net/http takes no connection above TLS
	if err := http2.ConfigureServer(sized, h2); err != nil { //nolint:staticcheck // likewise
		panic(err) // only for a TLSConfig, of which there is none
	}
	end := func() { sized.Shutdown(context.Background()) }
	if a.ended {
		end()
	}
	a.ends = append(a.ends, end)
	a.by[upload] = func(c *tls.Conn, h http.Handler) {
		//nolint:staticcheck // likewise
		h2.ServeConn(newH2Conn(c), &http2.ServeConnOpts{Context: contextOf(h), Handler: h, BaseConfig: sized})
	}
	return a.by[upload]
}

// shutdown lets the connections end when their requests have.
func (a *sizedServers) shutdown() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	for _, end := range a.ends {
		end()
	}
}

// contextOf returns the context of a connection that a http.Server hands on, by what
// its handler has for packages that speak HTTP/2; nil where it has none.
func contextOf(h http.Handler) context.Context {
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		return b.BaseContext()
	}
	return nil
}

// uploadOf decides the window of a visitor's connection.
func (s *Site) uploadOf(c *tls.Conn) int {
	s.mu.Lock()
	v := s.visits[c]
	s.mu.Unlock()
	if v == nil {
		return leastUpload
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return leastUpload
	}
	for size := largeUpload; size > leastUpload; size /= 2 {
		from := v.upload
		if size <= smallUpload {
			from = v.windows
		}
		if from.Take(size, size) > 0 {
			return size
		}
	}
	return leastUpload
}
