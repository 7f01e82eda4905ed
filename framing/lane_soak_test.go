package framing_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/internal/testnet"
)

// soakTime is far more than any round of TestLaneSoak takes.
const soakTime = 30 * time.Second

// A soak is one round of TestLaneSoak: a stream that carries random bytes both
// ways, is moved to a lane at a random offset, and to which something happens
// at another.
type soak struct {
	*laneRig
	takes  bool       // the visitor comes over a hop, and is taken
	rng    *rand.Rand // not used by the goroutines of a round
	device *framing.Stream
	detour *framing.Detour // with takes
	offer  framing.LaneOffer
	took   atomic.Bool

	moveAt, eventAt int // bytes that mover and actor have written
	mover, actor    int // 0 the visitor, 1 the device
	together        bool
	event           string
	fine            int // bytes around moveAt are written in pieces of so many at most

	moveNow, eventNow func() // each acts once
	moves             sync.WaitGroup
	served            sync.WaitGroup
	binding           chan struct{} // closed when Bind is done

	mu   sync.Mutex
	lost func()
}

var soakEvents = []string{"none", "none", "reset by the visitor", "reset by the device", "link lost", "lane lost", "lane lost in time"}

// TestLaneSoak does random things to streams that move, over TCP. What arrives
// is always a prefix of what was sent, an end comes only behind all of it, and
// each end learns of all else in time.
func TestLaneSoak(t *testing.T) { soakLanes(t, false) }

// TestTakeSoak is TestLaneSoak for visitors that come over a hop and are taken.
func TestTakeSoak(t *testing.T) { soakLanes(t, true) }

func soakLanes(t *testing.T, takes bool) {
	server, client := laneTLS(t)
	for range max(20, rounds()) {
		seed := rand.Uint64()
		s := newSoak(t, seed)
		s.takes = takes
		s.laneRig.server, s.laneRig.client = server, client
		if wrong := s.run(t); wrong != "" {
			t.Fatalf("seed %d, %q: %s", seed, s.event, wrong)
		}
	}
}

func newSoak(t testing.TB, seed uint64) *soak {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &soak{
		laneRig: &laneRig{}, rng: rng, binding: make(chan struct{}),
		mover: rng.IntN(2), actor: rng.IntN(2), together: rng.IntN(2) == 0,
		moveAt: soakSize(rng), eventAt: soakSize(rng),
		offer: framing.LaneOffer{Node: "a", Token: framing.NewLaneToken()},
		event: soakEvents[rng.IntN(len(soakEvents))], fine: 1 + rng.IntN(20),
	}
	if rng.IntN(2) == 0 { // near to each other
		s.eventAt, s.actor = s.moveAt+rng.IntN(200), s.mover
	}
	if s.event == "lane lost in time" && s.actor == s.mover {
		s.eventAt = max(s.eventAt, s.moveAt) // it waits for the move
	}
	a, b := testnet.TCPPair(t)
	grant := func(int) []framing.LaneToken { return []framing.LaneToken{framing.NewLaneToken()} }
	s.relay, s.remote = linksWith(t, a, b, framing.Handler{LaneTokens: grant}, framing.Handler{}, framing.CapabilityLanes)
	return s
}

// soakSize is a number of bytes: few, about a record's, or many.
func soakSize(rng *rand.Rand) int {
	return rng.IntN([]int{1, 100, 16<<10 + 10, 64 << 10, 500 << 10}[rng.IntN(5)])
}

// run does the round, and returns what is wrong.
func (s *soak) run(t *testing.T) (wrong string) {
	v, d := s.begin(t)
	s.device = d
	s.moveNow = sync.OnceFunc(func() { s.moves.Go(func() { s.move(t, d) }) })
	s.eventNow = sync.OnceFunc(func() { s.act(v, d) })
	ends := []*soakEnd{{soak: s, stream: v, side: 0}, {soak: s, stream: d, side: 1}}
	for _, e := range ends {
		e.sends = make([]byte, soakSize(s.rng))
		for i := range e.sends {
			e.sends[i] = byte(s.rng.Uint32())
		}
		e.rng = rand.New(rand.NewPCG(s.rng.Uint64(), 0))
	}
	// Nothing may hang: a deadline that passes is a failure below.
	deadline := time.Now().Add(soakTime)
	v.SetDeadline(deadline)
	d.SetDeadline(deadline)
	var wg sync.WaitGroup
	for _, e := range ends {
		wg.Go(e.write)
		wg.Go(e.read)
	}
	wg.Wait()
	s.moves.Wait()
	wrong = ends[0].judge(ends[1]) + ends[1].judge(ends[0])
	v.Close()
	d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), soakTime)
	defer cancel()
	for _, l := range []*framing.Link{s.relay, s.remote} {
		if err := l.WaitIdle(ctx); err != nil {
			wrong += fmt.Sprintf("; streams are left: %v", err)
		}
		for framing.PoolUsed(l) != 0 && ctx.Err() == nil {
			runtime.Gosched() // what the writer has in its hands, of a stream that was reset
		}
		if n := framing.PoolUsed(l); n != 0 {
			wrong += fmt.Sprintf("; %d bytes of the pool in use", n)
		}
		l.Close()
	}
	s.served.Wait()
	return wrong
}

// begin returns the two ends.
func (s *soak) begin(t *testing.T) (v soakConn, d *framing.Stream) {
	if !s.takes {
		return open(t, s.relay, s.remote, "")
	}
	near, far := testnet.TCPPair(t)
	hopA, hopB := testnet.TCPPair(t)
	s.detour = framing.NewDetour(hopA, 0)
	o := duplex.Options{Probe: 10 * time.Millisecond}
	s.served.Go(func() { duplex.Copy(far, s.detour, o) })
	h := header
	h.Lane = s.offer
	b, err := s.relay.Open(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.served.Go(func() { duplex.Copy(hopB, b, o) })
	if d, err = s.remote.Accept(); err != nil {
		t.Fatal(err)
	}
	return &soakVisitor{TCPConn: near}, d
}

// act makes the event happen.
func (s *soak) act(v, d soakConn) {
	switch s.event {
	case "reset by the visitor":
		v.Reset()
	case "reset by the device":
		d.Reset()
	case "link lost":
		s.relay.Close()
	case "lane lost in time":
		<-s.binding
		fallthrough
	case "lane lost":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lost != nil {
			s.lost()
		}
	}
}

// move dials a lane and binds it. That may fail, as the round goes on meanwhile.
func (s *soak) move(t *testing.T, d *framing.Stream) {
	defer close(s.binding)
	var tokens []framing.LaneToken
	var err error
	if !s.takes {
		tokens, err = s.remote.WantLanes(t.Context(), 1)
	}
	if err != nil {
		return
	}
	far, a := testnet.TCPPair(t)
	near, b := testnet.TCPPair(t)
	s.served.Go(func() { duplex.Copy(a, b, duplex.Options{Probe: 10 * time.Millisecond}) })
	relay, remote := s.shake(t, far, near)
	s.served.Go(func() {
		framing.ServeLane(relay, func(framing.LaneToken) *framing.Link { return s.relay },
			func(t framing.LaneToken) *framing.Detour {
				if !t.Equal(&s.offer.Token) {
					return nil
				}
				return s.detour
			}, nil)
	})
	if s.takes {
		s.take(t, d, remote, a)
		return
	}
	lane, err := s.remote.JoinLane(remote, tokens[0])
	if err != nil {
		return
	}
	s.mu.Lock()
	s.lost = func() { socket.Abort(a) }
	s.mu.Unlock()
	if lane.Bind(t.Context(), d) == nil {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		lane.Outcome(ctx)
	}
}

// take takes the visitor to the lane whose middle is a.
func (s *soak) take(t *testing.T, d *framing.Stream, remote *tls.Conn, a net.Conn) {
	s.mu.Lock()
	s.lost = func() { socket.Abort(a) }
	s.mu.Unlock()
	if lane, err := d.Take(t.Context(), remote); err == nil {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		lane.Outcome(ctx)
		s.took.Store(true)
	}
}

// A soakConn is what an end of the stream is.
type soakConn interface {
	duplex.Conn
	Reset() error
}

// A soakVisitor is the visitor's end of a TCP connection.
type soakVisitor struct {
	*net.TCPConn
	ended atomic.Bool
}

// Read tells of a reset also where a Write has been told of it, after which the system
// says end of stream.
func (v *soakVisitor) Read(p []byte) (int, error) {
	n, err := v.TCPConn.Read(p)
	if err == io.EOF && !v.ended.Load() && !duplex.Alive(v.TCPConn) && !v.ended.Load() {
		err = syscall.ECONNRESET
	}
	return n, err
}

// CloseWrite notes that each Write before has succeeded.
func (v *soakVisitor) CloseWrite() error {
	v.ended.Store(true)
	return v.TCPConn.CloseWrite()
}

func (v *soakVisitor) Reset() error {
	socket.Abort(v.TCPConn)
	return nil
}

// A soakEnd is one end of the stream in a soak.
type soakEnd struct {
	*soak
	stream soakConn
	side   int
	rng    *rand.Rand // the writer's
	sends  []byte
	got    []byte
	wrote  int
	werr   error
	rerr   error
}

func (e *soakEnd) write() {
	for e.werr == nil {
		if e.side == e.mover && e.wrote >= min(e.moveAt, len(e.sends)) {
			e.moveNow()
			if !e.together {
				<-e.binding
			}
		}
		if e.side == e.actor && e.wrote >= min(e.eventAt, len(e.sends)) {
			e.eventNow()
		}
		if e.wrote == len(e.sends) {
			e.werr = e.stream.CloseWrite()
			break
		}
		n := 1 + e.rng.IntN(40<<10)
		if near := e.wrote - e.moveAt; -100 < near && near < 1000 {
			n = 1 + e.rng.IntN(e.fine)
		} else if near < 0 {
			n = min(n, -near)
		}
		n, e.werr = e.stream.Write(e.sends[e.wrote:min(e.wrote+n, len(e.sends))])
		e.wrote += n
	}
	if e.werr != nil {
		e.stream.Reset()
	}
	if e.side == e.mover { // at the latest, as somebody may wait for it
		e.moveNow()
	}
}

func (e *soakEnd) read() {
	e.got, e.rerr = io.ReadAll(struct{ io.Reader }{e.stream})
	if e.rerr != nil {
		e.stream.Reset()
	}
}

// judge says what is wrong with what e got from the other end, or nothing.
func (e *soakEnd) judge(from *soakEnd) string {
	whole := from.werr == nil && len(e.got) == len(from.sends)
	switch {
	case !bytes.HasPrefix(from.sends, e.got):
		return fmt.Sprintf("side %d got %d bytes that were not sent so", e.side, len(e.got))
	case e.rerr == nil && !whole:
		return fmt.Sprintf("side %d got %d of %d bytes and an end (the writer: %v)", e.side, len(e.got), len(from.sends), from.werr)
	case e.event == "none" && (e.rerr != nil || e.werr != nil):
		return fmt.Sprintf("side %d: %v and %v, though nothing happened", e.side, e.rerr, e.werr)
	case isTimeout(e.rerr) || isTimeout(e.werr):
		return fmt.Sprintf("side %d did not learn of it: %v and %v", e.side, e.rerr, e.werr)
	}
	return ""
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
