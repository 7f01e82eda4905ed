package relay

import (
	"crypto/tls"
	"sync"
	"time"

	"keystay/framing"
)

// laneTokens are the tokens for lanes that were granted and are not used yet.
// The zero value is ready.
type laneTokens struct {
	mu      sync.Mutex
	granted map[[8]byte]laneGrant // by the tokens' ids
	open    map[*framing.Link]int // how many of them each link has
}

type laneGrant struct {
	token framing.LaneToken
	link  *framing.Link
}

// grant makes tokens for lanes of a link: n, or fewer when it has some already.
// They are good for framing.TokenTime.
func (g *laneTokens) grant(link *framing.Link, n int) []framing.LaneToken {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.granted == nil {
		g.granted, g.open = make(map[[8]byte]laneGrant), make(map[*framing.Link]int)
	}
	n = min(n, framing.MaxSpareLanes-g.open[link])
	if n <= 0 {
		return nil
	}
	tokens := make([]framing.LaneToken, n)
	for i := range tokens {
		tokens[i] = framing.NewLaneToken()
		g.granted[tokens[i].ID()] = laneGrant{tokens[i], link}
	}
	g.open[link] += n
	time.AfterFunc(framing.TokenTime, func() {
		for _, t := range tokens {
			g.use(t)
		}
	})
	return tokens
}

// use returns the link that a token admits a lane to, once, or nil.
func (g *laneTokens) use(t framing.LaneToken) *framing.Link {
	g.mu.Lock()
	defer g.mu.Unlock()
	have, ok := g.granted[t.ID()]
	if !ok || !have.token.Equal(&t) {
		return nil
	}
	delete(g.granted, t.ID())
	if g.open[have.link]--; g.open[have.link] == 0 {
		delete(g.open, have.link)
	}
	return have.link
}

// serveLane takes a lane until it is bound to its stream, which owns it from
// then on, or closed. It calls routed when the lane has found its link. A lane that
// takes a visitor from here whose remote is at another node it serves until both
// directions have found their way there.
func (s *Server) serveLane(tc *tls.Conn, routed func()) {
	var t *offered
	take := func(token framing.LaneToken) *framing.Detour {
		if t = s.offers.use(token, tc.RemoteAddr()); t == nil {
			return nil
		}
		return t.detour
	}
	err := framing.ServeLane(tc, s.lanes.use, take, func() {
		if t != nil {
			t.leaveHop(&s.hops)
		}
		routed()
	})
	s.offers.notUsed(t)
	if err != nil {
		s.log.Debug("a lane was not bound", "remote", tc.RemoteAddr(), "err", err)
		return
	}
	s.stats.lanes.Add(1)
}

// laneTokens grants the session tokens for up to n lanes: none in an old process,
// since a lane would reach the new one.
func (sess *session) laneTokens(n int) []framing.LaneToken {
	if sess.srv.departure.Load() != nil || len(sess.granted()) == 0 {
		return nil
	}
	return sess.srv.lanes.grant(sess.link, n)
}
