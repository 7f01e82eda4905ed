package publish

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// An HTTP/2 window is how much a sender may have on the way, so a window and the
// path's round trip bound the speed: 1 MiB was 9.5 MB/s at 100 ms, and 6 MiB were
// 19 to 28. It is also how much this process may have to keep for a receiver that
// does not read. So the first visitors have large windows, and the others small
// ones:
//
//   - From a visitor, one connection may be sent largeUpload or smallUpload
//     that the service has not read, whatever the number of its requests.
//   - From a service that speaks HTTP/2, a visitor's connection may be sent
//     largeAnswers or smallAnswers that the visitor has not read; one answer at
//     most largeAnswer or smallAnswer of it, so that answers which a visitor
//     leaves unread (at least four) do not stop its others.
//
// HTTP/1.1 has no windows. There, TCP holds the sender back.
const (
	// maxLarge is how many visitors' connections have large windows at once.
	maxLarge = 4

	largeUpload  = 16 << 20
	largeAnswers = 16 << 20
	largeAnswer  = 4 << 20

	smallUpload  = 512 << 10
	smallAnswers = 2 << 20
	smallAnswer  = 256 << 10
)

// A room is what windows a visit has.
type room int

const (
	unasked room = iota // it has needed none so far
	small
	large
)

// roomLocked returns the visit's room, and decides it the first time.
func (v *visit) roomLocked() room {
	if v.room == unasked {
		v.room = v.service.takeRoom()
	}
	return v.room
}

func (s *service) takeRoom() room {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.large == maxLarge {
		return small
	}
	s.large++
	return large
}

func (s *service) giveBack(r room) {
	if r != large {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.large--
}

// local is for the transport to a service.
func (r room) local() *http.HTTP2Config {
	if r == large {
		return &http.HTTP2Config{MaxReceiveBufferPerConnection: largeAnswers, MaxReceiveBufferPerStream: largeAnswer}
	}
	return &http.HTTP2Config{MaxReceiveBufferPerConnection: smallAnswers, MaxReceiveBufferPerStream: smallAnswer}
}

// serveHTTP2 lets srv speak HTTP/2 with visitors, with windows by their room.
// Package net/http has one size for all of a server's connections, so there is a
// server of its own for each size, which gets the connections from srv.
func (s *service) serveHTTP2(srv *http.Server) {
	serve := make(map[room]func(*tls.Conn, http.Handler))
	for r, upload := range map[room]int{small: smallUpload, large: largeUpload} {
		sized := &http.Server{
			HTTP2: &http.HTTP2Config{
				MaxConcurrentStreams:          maxVisitorStreams,
				MaxReceiveBufferPerConnection: upload,
				MaxReceiveBufferPerStream:     upload,
			},
			ReadHeaderTimeout: srv.ReadHeaderTimeout,
			IdleTimeout:       srv.IdleTimeout,
			MaxHeaderBytes:    srv.MaxHeaderBytes,
			ErrorLog:          srv.ErrorLog,
		}
		sized.Serve(noListener{}) // sets TLSNextProto, and ends
		srv.RegisterOnShutdown(func() { sized.Shutdown(context.Background()) })
		h2 := sized.TLSNextProto["h2"]
		serve[r] = func(c *tls.Conn, h http.Handler) { h2(sized, c, h) }
	}
	srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, h http.Handler) { serve[s.roomOf(c)](c, h) },
	}
}

// A noListener accepts nothing.
type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (noListener) Close() error              { return nil }
func (noListener) Addr() net.Addr            { return nil }

// roomOf returns the room of a visitor's connection.
func (s *service) roomOf(c *tls.Conn) room {
	s.mu.Lock()
	v := s.visits[c]
	s.mu.Unlock()
	if v == nil {
		return small
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.roomLocked()
}
