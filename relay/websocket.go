package relay

import (
	"net/http"

	"keystay/framing"
	"keystay/internal/socket"
	"keystay/relay/limits"
)

// serveWebSocket takes a link that comes over a WebSocket. From the upgrade on
// it is a link like any other: the HTTP server knows it no more.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	place, from := heldBy(r)
	why, tell := from.Handshake()
	if why != limits.None && !tell {
		w.Header().Set("Retry-After", "10")
		http.Error(w, tooMany(why).Text, http.StatusTooManyRequests)
		return
	}
	c, err := framing.AcceptWebSocket(w, r)
	if err != nil {
		s.log.Debug("no link over a WebSocket", "err", err)
		return
	}
	c = heardSocket(c)
	a := s.sockets.admit(c)
	if a == nil {
		socket.Abort(c)
		return
	}
	a.place, a.from = place, from
	if why != limits.None {
		a.refusal = tooMany(why)
	}
	cs := r.TLS
	go func() { // so that the HTTP server is done with the request
		if !s.serveLink(c, cs, a) {
			a.end()
		}
	}()
}
