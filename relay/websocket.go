package relay

import (
	"net/http"

	"keystay/framing"
	"keystay/internal/socket"
)

// serveWebSocket takes a link that comes over a WebSocket. From the upgrade on
// it is a link like any other: the HTTP server knows it no more.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	c, err := framing.AcceptWebSocket(w, r)
	if err != nil {
		s.log.Debug("no link over a WebSocket", "err", err)
		return
	}
	a := s.sockets.admit(c)
	if a == nil {
		socket.Abort(c)
		return
	}
	a.place = placeOf(r)
	cs := r.TLS
	go func() { // so that the HTTP server is done with the request
		if !s.serveLink(c, cs, a) {
			a.end()
		}
	}()
}
