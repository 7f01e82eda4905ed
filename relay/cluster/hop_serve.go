package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/relay"
)

const (
	// hopIdle is how long a connection may be kept without a HOP: longer than the node
	// that has dialled it keeps it.
	hopIdle = 3 * spareTime
	// hopTransfer is how long a HOP may take to be whole, and an answer to be sent.
	hopTransfer = 10 * time.Second
	// maxHopsWaiting is how many connections without a HOP one node may have here.
	maxHopsWaiting = maxSpare + maxDials
)

// hopServer serves the visitors that other nodes bring. Serve is set before.
type hopServer struct {
	serve func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error // [relay.Server.ServeHop]

	mu      sync.Mutex
	ended   bool
	waiting map[machine]map[duplex.Conn]struct{} // without a HOP, by node
}

// serveConn serves a connection that a node has dialled for a visitor, whose handshake
// is done and which runs on a [framing.TLSRecordConn]. It returns once the visitor is
// served or the connection is closed: it need not be closed by the caller.
func (s *hopServer) serveConn(node machine, tc *tls.Conn) error {
	c, err := framing.Bare(tc)
	if err != nil {
		tc.Close()
		return err
	}
	for err == nil {
		var h relay.Hop
		if h, err = s.next(node, c, tc); err != nil {
			break
		}
		answer := s.serve(c, h, func(host relay.Host) error { return writeAnswer(tc, encodeYes(host)) })
		if answer == nil {
			return nil
		}
		var refused *relay.HopRefused
		if !errors.Is(answer, relay.ErrNotThere) && !errors.As(answer, &refused) {
			err = answer
			break
		}
		err = writeAnswer(tc, encodeNo(answer))
	}
	c.Close()
	if err == io.EOF {
		return nil
	}
	return err
}

// next reads the next HOP.
func (s *hopServer) next(node machine, c duplex.Conn, tc *tls.Conn) (h relay.Hop, err error) {
	if err := s.wait(node, c); err != nil {
		return h, err
	}
	tc.SetReadDeadline(time.Now().Add(hopIdle))
	m, n, err := readHead(tc)
	s.begun(node, c)
	if err != nil {
		return h, err
	}
	if m != msgHop || n > maxHop {
		return h, fmt.Errorf("%w: message %d of %d bytes", errHopProtocol, m, n)
	}
	tc.SetReadDeadline(time.Now().Add(hopTransfer))
	b := make([]byte, n)
	if _, err := io.ReadFull(tc, b); err != nil {
		return h, socket.NoEOF(err)
	}
	return parseHop(b)
}

func writeAnswer(tc *tls.Conn, answer []byte) error {
	tc.SetWriteDeadline(time.Now().Add(hopTransfer))
	_, err := tc.Write(answer)
	return err
}

// errHops says why a connection is not kept.
var (
	errHopsEnded = errors.New("cluster: no visitors of other nodes are taken any more")
	errManyHops  = errors.New("cluster: too many connections for visitors come from one node")
)

// wait counts a connection without a HOP.
func (s *hopServer) wait(node machine, c duplex.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errHopsEnded
	}
	of := s.waiting[node]
	if len(of) >= maxHopsWaiting {
		return errManyHops
	}
	if of == nil {
		of = make(map[duplex.Conn]struct{})
		if s.waiting == nil {
			s.waiting = make(map[machine]map[duplex.Conn]struct{})
		}
		s.waiting[node] = of
	}
	of[c] = struct{}{}
	return nil
}

// begun ends what wait has begun.
func (s *hopServer) begun(node machine, c duplex.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.waiting[node]
	if delete(of, c); len(of) == 0 {
		delete(s.waiting, node)
	}
}

// end closes the connections without a HOP, and takes no others. Visitors that are being
// served stay.
func (s *hopServer) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, of := range s.waiting {
		for c := range of {
			c.Close()
		}
	}
}
