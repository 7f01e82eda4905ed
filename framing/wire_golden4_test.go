package framing_test

import (
	"net"
	"reflect"
	"sync"
	"testing"

	"keystay/framing"
)

// The records that minor version 4 has added, as a conversation.
const (
	phase4Hello = iota
	phase4Nodes
	phase4Changed
)

var phaseNames4 = []string{"hello and welcome", "the relay's nodes", "one of them takes no new links"}

var (
	hello4 = func() framing.Hello {
		h := goldenHello
		h.Minor = 4
		return h
	}()
	nodes4 = []framing.Nodes{
		{Own: "a", List: []framing.Node{{Name: "a", Address: "192.0.2.1:443", Region: "eu", Weight: 100, Load: 250},
			{Name: "b", Address: "[2001:db8::1]:8443", Region: "", Weight: 300, Load: 0}}},
		{Own: "a", List: []framing.Node{{Name: "a", Address: "192.0.2.1:443", Region: "eu", Weight: 0, Load: 1200},
			{Name: "b", Address: "[2001:db8::1]:8443", Region: "", Weight: 300, Load: 10}}},
	}
)

// script4 is either side of the conversation.
type script4 struct {
	t     *testing.T
	conn  net.Conn
	relay bool
	link  *framing.Link
	told  []framing.Nodes
	wg    sync.WaitGroup
}

func (s *script4) wait() { s.wg.Wait() }

func (s *script4) start(n int) {
	s.wg.Go(func() {
		switch {
		case n == phase4Hello && s.relay:
			l, h, err := framing.Server(s.t.Context(), s.conn)
			if err != nil || h.Minor != 4 {
				s.t.Errorf("hello %+v, %v", h, err)
				return
			}
			s.link = l
			l.Welcome(framing.Welcome{PublicPort: 443, Agent: "keystay-relay/test"}, framing.Handler{})
		case n == phase4Hello:
			l, w, err := framing.Client(s.t.Context(), s.conn, hello4, framing.Handler{Nodes: func(n framing.Nodes) { s.told = append(s.told, n) }})
			if err != nil || w.Minor != 4 {
				s.t.Errorf("welcome %+v, %v", w, err)
			}
			s.link = l
		case s.relay:
			s.link.TellNodes(nodes4[n-phase4Nodes])
		}
	})
}

func (s *script4) over() {
	if !s.relay && !reflect.DeepEqual(s.told, nodes4) {
		s.t.Errorf("told %+v", s.told)
	}
	settled(s.t, s.link)
}
