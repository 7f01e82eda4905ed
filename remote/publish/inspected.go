package publish

import (
	"net"
	"net/http"
)

// Again serves a request that no visitor has sent just now, such as one that is repeated
// to look at its answer: with the routes, services and limits of the site, and past the
// gate, as one that the gate has let through before. Its Host has to be the site's and
// its RequestURI a path; else it is refused as a visitor's is. It never switches
// protocols. As with a visitor's, an answer that breaks off ends in a panic with
// [http.ErrAbortHandler].
func (s *Site) Again(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	x.visit = s.visitOf(r)
	size := headSize(r, x.head)
	if !x.visit.takeHead(size) {
		x.overload()
		return
	}
	defer x.visit.putHead(size)
	if no := refusal(r, s.domain); no != nil {
		no.Write(w, r)
		return
	}
	r.Header.Del("Upgrade")
	if r.Body != http.NoBody && r.Trailer == nil {
		r.Trailer = make(http.Header)
	}
	defer x.breakOff()
	t := s.table.Load()
	if t.inspected == nil {
		t.serve(x)
		return
	}
	x.pass(t.inspected)
}

// shown returns the visitor's connection after a switch of protocols, or the one that the
// inspecting ResponseWriter puts in its place, see [SiteConfig.Inspect].
func (x *exchange) shown(c net.Conn) net.Conn {
	for w := x.ResponseWriter; ; {
		switch in := w.(type) {
		case interface {
			Switched(visitor net.Conn, answer http.Header) net.Conn
		}:
			return in.Switched(c, x.answer.Header)
		case interface{ Unwrap() http.ResponseWriter }:
			w = in.Unwrap()
		default:
			return c
		}
	}
}
