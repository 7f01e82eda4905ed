package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/relay"
)

const (
	// minSpare and maxSpare are how many connections to another node are kept dialled
	// for visitors to come: minSpare where none comes, and twice as many each time that
	// there is none left.
	minSpare, maxSpare = 2, 32
	// spareTime is how long one of them is kept unused. It is then closed, and one less
	// is kept from there on.
	spareTime = 2 * time.Minute
	// maxDials is how many connections to one node are being dialled at once.
	maxDials = 64
	// hopDialTimeout is how long one may take, with its handshake: nodes are in data centres.
	hopDialTimeout = 3 * time.Second
	// redialTime is after how long a spare one is dialled again that could not be.
	redialTime = 2 * time.Second
)

// errNodeDown is the error of a hop to a node that is not there any more.
var errNodeDown = errors.New("cluster: the node is gone")

// hopPools are the connections to other nodes on which visitors are taken there. Dial is
// set before: it returns a connection whose handshake is done, on a
// [framing.TLSRecordConn].
type hopPools struct {
	dial func(ctx context.Context, node string) (*tls.Conn, error)

	mu    sync.Mutex
	ended bool
	nodes map[string]*hopPool
	wg    sync.WaitGroup // what dials
}

// A hopPool has the connections to one node.
type hopPool struct {
	all   *hopPools
	node  string
	ctx   context.Context // ends when the node is gone
	leave context.CancelFunc
	dials chan struct{} // a place for each that is being dialled

	// Guarded by all.mu.
	spare    []spareHop // the newest last
	dialling int        // spare ones
	want     int        // spare ones
	tick     *time.Timer
}

// A spareHop is a connection without a visitor.
type spareHop struct {
	tc    *tls.Conn
	since time.Time
}

// hop is [relay.Nodes.Hop].
func (a *hopPools) hop(ctx context.Context, node string, h relay.Hop) (c duplex.Conn, host relay.Host, err error) {
	b, err := encodeHop(&h)
	if err != nil {
		return nil, host, err
	}
	p := a.pool(node)
	if p == nil {
		return nil, host, errNodeDown
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(errNodeDown) })()
	// A spare one may have been closed by the other node meanwhile: that has not
	// answered the visitor then, so that it may be asked on a new one.
	if tc := p.take(); tc != nil {
		c, host, err := p.ask(ctx, tc, b)
		if err == nil || answered(err) || ctx.Err() != nil {
			return c, host, err
		}
	}
	tc, err := p.dialOne(ctx)
	if err != nil {
		return nil, host, err
	}
	return p.ask(ctx, tc, b)
}

// answered reports whether err is an answer of the other node.
func answered(err error) bool {
	var refused *relay.HopRefused
	return errors.Is(err, relay.ErrNotThere) || errors.As(err, &refused)
}

// ask sends HOP and waits for the answer. After a no the connection is spare again.
func (p *hopPool) ask(ctx context.Context, tc *tls.Conn, hop []byte) (c duplex.Conn, host relay.Host, err error) {
	c, err = framing.Bare(tc)
	if err != nil {
		tc.Close()
		return nil, host, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	if _, err = tc.Write(hop); err == nil {
		host, err = readAnswer(tc)
		err = socket.NoEOF(err)
	}
	if !stop() { // nobody knows any more what the other node has read
		err = context.Cause(ctx)
	}
	switch {
	case err == nil:
		return c, host, nil
	case answered(err):
		p.giveBack(tc)
	default:
		socket.Abort(c)
	}
	return nil, host, err
}

// pool returns the connections to a node; nil after end.
func (a *hopPools) pool(node string) *hopPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.poolLocked(node)
}

func (a *hopPools) poolLocked(node string) *hopPool {
	if a.ended {
		return nil
	}
	p := a.nodes[node]
	if p == nil {
		p = &hopPool{all: a, node: node, dials: make(chan struct{}, maxDials), want: minSpare}
		p.ctx, p.leave = context.WithCancel(context.Background())
		if a.nodes == nil {
			a.nodes = make(map[string]*hopPool)
		}
		a.nodes[node] = p
	}
	return p
}

// up dials spare connections to a node that has come up.
func (a *hopPools) up(node string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.poolLocked(node); p != nil {
		p.fillLocked()
	}
}

// down gives the connections to a node up that is gone: visitors whom it has not
// answered are brought elsewhere. Those that it serves stay, as long as TCP says.
func (a *hopPools) down(node string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.nodes[node]; p != nil {
		delete(a.nodes, node)
		p.dropLocked()
	}
}

// end is down for all nodes, for good. It returns when nothing is dialled any more.
func (a *hopPools) end() {
	a.mu.Lock()
	a.ended = true
	for node, p := range a.nodes {
		delete(a.nodes, node)
		p.dropLocked()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

func (p *hopPool) dropLocked() {
	p.leave()
	if p.tick != nil {
		p.tick.Stop()
	}
	for _, s := range p.spare {
		s.close()
	}
	p.spare = nil
}

// close closes a connection that has carried no visitor.
func (s spareHop) close() { s.tc.NetConn().Close() }

// take returns a spare connection, or nil, and has another one dialled.
func (p *hopPool) take() *tls.Conn {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	defer p.fillLocked()
	for len(p.spare) > 0 {
		last := len(p.spare) - 1
		s := p.spare[last]
		p.spare[last] = spareHop{}
		p.spare = p.spare[:last]
		if !duplex.Ended(s.tc) && duplex.Alive(s.tc.NetConn()) {
			return s.tc
		}
		s.close()
	}
	p.want = min(2*p.want, maxSpare)
	return nil
}

// giveBack makes a connection spare again.
func (p *hopPool) giveBack(tc *tls.Conn) {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	p.addLocked(tc)
}

func (p *hopPool) addLocked(tc *tls.Conn) {
	s := spareHop{tc, time.Now()}
	if p.ctx.Err() != nil || len(p.spare) >= p.want {
		s.close()
		return
	}
	p.spare = append(p.spare, s)
	if len(p.spare) == 1 {
		p.tickLocked(spareTime)
	}
}

// tickLocked sets when expire is called next.
func (p *hopPool) tickLocked(in time.Duration) {
	if p.tick == nil {
		p.tick = time.AfterFunc(in, p.expire)
		return
	}
	p.tick.Reset(in)
}

// expire closes the spare connections that were unused for long, and fills up.
func (p *hopPool) expire() {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	now := time.Now()
	for len(p.spare) > 0 && now.Sub(p.spare[0].since) >= spareTime {
		p.spare[0].close()
		p.spare = append(p.spare[:0], p.spare[1:]...)
		p.want = max(minSpare, p.want-1)
	}
	p.fillLocked()
	if len(p.spare) > 0 {
		p.tickLocked(max(0, spareTime-now.Sub(p.spare[0].since)))
	}
}

// fillLocked dials as many spare connections as are wanted.
func (p *hopPool) fillLocked() {
	for p.ctx.Err() == nil && len(p.spare)+p.dialling < p.want {
		p.dialling++
		p.all.wg.Go(func() {
			tc, err := p.dialOne(p.ctx)
			p.all.mu.Lock()
			defer p.all.mu.Unlock()
			p.dialling--
			switch {
			case err == nil:
				p.addLocked(tc)
			case p.ctx.Err() == nil:
				p.tickLocked(redialTime)
			}
		})
	}
}

// dialOne dials a connection, and waits for a place for that.
func (p *hopPool) dialOne(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, hopDialTimeout)
	defer cancel()
	select {
	case p.dials <- struct{}{}:
		defer func() { <-p.dials }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return p.all.dial(ctx, p.node)
}
