package duplex_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/socket"
)

// A mover is a Conn whose directions go from memory to a lane when told.
type mover struct {
	*memconn.Conn
	lane *net.TCPConn

	writing sync.Mutex // held by Write
	mu      sync.Mutex // and what follows, for as long as a look takes
	moving  bool       // the end of what is read from memory is no end
	read    *net.TCPConn
	write   *net.TCPConn
	ended   bool
}

func (m *mover) Carrier() (read, write *net.TCPConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read, m.write
}

func (m *mover) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, struct{ io.Reader }{m.Conn})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.moving {
		m.read = m.lane
	}
	return n, err
}

func (m *mover) Write(p []byte) (int, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if _, write := m.Carrier(); write != nil {
		return write.Write(p)
	}
	return m.Conn.Write(p)
}

// moveWrite moves what is written; to the far end it looks like an end.
func (m *mover) moveWrite() {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Conn.CloseWrite()
	if m.write = m.lane; m.ended {
		m.lane.CloseWrite()
	}
}

// moveRead moves what is read, after what far has sent so far.
func (m *mover) moveRead(far *memconn.Conn) {
	m.mu.Lock()
	m.moving = true
	m.mu.Unlock()
	far.CloseWrite()
}

func (m *mover) CloseWrite() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.write != nil {
		return m.write.CloseWrite()
	}
	return m.Conn.CloseWrite()
}

func (m *mover) Close() error { m.lane.Close(); return m.Conn.Close() }
func (m *mover) Reset() error { socket.Abort(m.lane); return m.Conn.Reset() }

func (m *mover) Broken() error {
	if read, write := m.Carrier(); read != nil && write != nil {
		return nil
	}
	return m.Conn.Broken()
}

// A moving is a Copy or Start between a visitor and a mover, seen from outside.
type moving struct {
	rig   // a is the visitor; b the lane's far end
	until func() duplex.Result
	mem   *memconn.Conn
	mover *mover
}

func newMoving(t *testing.T, start bool) *moving {
	t.Helper()
	mem, near := memconn.Pipe(0)
	r := &moving{mem: mem, mover: &mover{Conn: near}}
	r.result = make(chan duplex.Result, 1)
	var visitor *net.TCPConn
	r.a, visitor = tcpPair(t)
	r.b, r.mover.lane = tcpPair(t)
	t.Cleanup(func() { mem.Close() })
	o := duplex.Options{Probe: quick}
	if start {
		r.until = duplex.Start(visitor, r.mover, o, func(res duplex.Result) { r.result <- res })
	} else {
		go func() { r.result <- duplex.Copy(visitor, r.mover, o) }()
	}
	return r
}

// What was carried is told while it goes on, and at its end: each direction's bytes
// before its move and after it, and when the far end has answered first.
func TestBytesAreToldBeforeAndAfterAMove(t *testing.T) {
	r := newMoving(t, true)
	send(t, r.a, 10)
	receive(t, r.mem, 10)
	got := r.until()
	for end := time.Now().Add(time.Minute); got.AtoB < 10 && time.Now().Before(end); got = r.until() {
		runtime.Gosched() // bytes are counted when the write of them has returned
	}
	if got != (duplex.Result{AtoB: 10}) {
		t.Errorf("before an answer: %+v", got)
	}
	send(t, r.mem, 20)
	receive(t, r.a, 20)
	r.mover.moveWrite()
	send(t, r.a, 3)
	receive(t, r.b, 3)
	r.mover.moveRead(r.mem)
	send(t, r.b, 4)
	receive(t, r.a, 4)
	r.b.CloseWrite()
	r.a.CloseWrite()
	got = <-r.result
	want := duplex.Result{AtoB: 13, BtoA: 24, MovedAtoB: 3, MovedBtoA: 4, Moved: true, First: got.First, Spliced: got.Spliced}
	if got != want || got.First <= 0 {
		t.Errorf("at the end: %+v, want %+v", got, want)
	}
	if now := r.until(); now.AtoB != 13 || now.MovedBtoA != 4 || now.First != got.First {
		t.Errorf("after the end: %+v", now)
	}
}

// A plan says after how many bytes a direction moves, if it is to, and whether
// all of them have arrived by then.
type plan struct {
	at    int
	quiet bool
}

const never = -1

var plans = []plan{{never, false}, {0, false}, {1, true}, {100, false}, {256 << 10, true}, {256 << 10, false}, {total, true}, {total, false}}

// total is what each direction carries in bytes.
const total = 512<<10 + 17

func TestEveryMoveKeepsAllBytes(t *testing.T) {
	for _, up := range plans {
		for _, down := range plans {
			for _, start := range []bool{true, false} {
				t.Run(fmt.Sprintf("up %v down %v start %v", up, down, start), func(t *testing.T) {
					r := newMoving(t, start)
					var wg sync.WaitGroup
					wg.Go(func() { r.up(t, up) })
					r.down(t, down)
					wg.Wait()
					r.done(t, total, total, true)
				})
			}
		}
	}
}

// up sends from the visitor to its end.
func (r *moving) up(t *testing.T, p plan) {
	sent, got := sha256.New(), sha256.New()
	random := rand.NewChaCha8([32]byte{2})
	arrived, received := make(chan bool), make(chan bool)
	go func() {
		defer close(received)
		from := io.MultiReader(r.mem, r.b) // what is in memory comes first
		if p.at >= 0 && p.quiet {
			io.CopyN(got, r.mem, int64(p.at))
			close(arrived)
		}
		io.Copy(got, from)
	}()
	send := func(n int) {
		if _, err := io.CopyN(io.MultiWriter(r.a, sent), random, int64(n)); err != nil {
			t.Errorf("visitor: %v", err)
		}
	}
	if p.at >= 0 {
		send(p.at)
		if p.quiet {
			<-arrived
		}
		r.mover.moveWrite()
	}
	send(total - max(0, p.at))
	r.a.CloseWrite()
	<-received
	same(t, sent, got)
}

// down sends to the visitor to its end.
func (r *moving) down(t *testing.T, p plan) {
	sent, got := sha256.New(), sha256.New()
	random := rand.NewChaCha8([32]byte{3})
	arrived, received := make(chan bool), make(chan bool)
	go func() {
		defer close(received)
		if p.at >= 0 && p.quiet {
			io.CopyN(got, r.a, int64(p.at))
			close(arrived)
		}
		io.Copy(got, r.a)
	}()
	send := func(to io.Writer, n int) {
		if _, err := io.CopyN(io.MultiWriter(to, sent), random, int64(n)); err != nil {
			t.Errorf("far end: %v", err)
		}
	}
	to := interface {
		io.Writer
		CloseWrite() error
	}(r.mem)
	if p.at >= 0 {
		send(r.mem, p.at)
		if p.quiet {
			<-arrived
		}
		r.mover.moveRead(r.mem)
		to = r.b
	}
	send(to, total-max(0, p.at))
	to.CloseWrite()
	<-received
	same(t, sent, got)
}

// moves are the states in which a reset may come.
var moves = map[string]struct{ read, write bool }{
	"none":  {false, false},
	"read":  {true, false},
	"write": {false, true},
	"both":  {true, true},
}

// moveTo brings r to a state, with a byte each way as the proof.
func (r *moving) moveTo(t *testing.T, read, write bool) {
	if read {
		r.mover.moveRead(r.mem)
		send(t, r.b, 1)
	} else {
		send(t, r.mem, 1)
	}
	receive(t, r.a, 1)
	if write {
		r.mover.moveWrite()
	}
	send(t, r.a, 1)
	if write {
		receive(t, r.b, 1)
	} else {
		receive(t, r.mem, 1)
	}
}

func TestResetBeforeAndAfterAMove(t *testing.T) {
	needsProbe(t)
	for name, m := range moves {
		t.Run("visitor/"+name, func(t *testing.T) {
			r := newMoving(t, true)
			r.moveTo(t, m.read, m.write)
			reset(r.a)
			r.done(t, 1, 1, false)
			seesReset(t, r.b)
			seesReset(t, r.mem)
		})
		t.Run("lane/"+name, func(t *testing.T) {
			if !m.read && !m.write {
				t.Skip("nobody has to look at it yet")
			}
			r := newMoving(t, true)
			r.moveTo(t, m.read, m.write)
			reset(r.b)
			r.done(t, 1, 1, false)
			seesReset(t, r.a)
		})
		t.Run("memory/"+name, func(t *testing.T) {
			if m.read && m.write {
				t.Skip("it is over")
			}
			r := newMoving(t, true)
			r.moveTo(t, m.read, m.write)
			r.mem.Reset()
			r.done(t, 1, 1, false)
			seesReset(t, r.a)
			seesReset(t, r.b)
		})
	}
}

// A direction may move after the other has ended.
func TestMoveAfterTheOtherEnded(t *testing.T) {
	r := newMoving(t, true)
	r.a.CloseWrite()
	seesEOF(t, r.mem, 0)
	r.mover.moveRead(r.mem)
	send(t, r.b, some)
	r.b.CloseWrite()
	seesEOF(t, r.a, some)
	r.done(t, 0, some, true)

	r = newMoving(t, true)
	r.mem.CloseWrite()
	seesEOF(t, r.a, 0)
	r.mover.moveWrite()
	send(t, r.a, some)
	r.a.CloseWrite()
	seesEOF(t, r.b, some)
	r.done(t, some, 0, true)
}

// owned is a Conn whose carrier is closed under the lock that Carrier takes.
type owned struct {
	duplex.Conn
	mu *sync.Mutex
}

func (o owned) Carrier() (read, write *net.TCPConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tcp := o.Conn.(*net.TCPConn)
	return tcp, tcp
}

func (o owned) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	socket.Abort(o.Conn)
}

// A carrier can be closed under the lock that Carrier takes while a write to it
// is about to wait: Close waits for that call.
func TestCarrierIsClosedByItsOwner(t *testing.T) {
	for name, from := range map[string]func(*net.TCPConn) duplex.Conn{"splice": bare, "buffer": boxed} {
		t.Run(name, func(t *testing.T) {
			lane, near := tcpPair(t)
			visitor, v := tcpPair(t)
			o := owned{near, new(sync.Mutex)}
			result := make(chan duplex.Result, 1)
			go func() { result <- duplex.Copy(o, from(v), duplex.Options{Probe: quick}) }()
			send(t, visitor, 1)
			receive(t, lane, 1)
			o.mu.Lock()
			fill(visitor)
			closed := make(chan struct{})
			go func() { defer close(closed); socket.Abort(near) }()
			select {
			case <-closed:
			case <-time.After(patience):
				t.Error("Close waits for who waits for its caller")
			}
			o.mu.Unlock()
			if res := <-result; res.Err == nil {
				t.Error("a connection that was closed ended in order")
			}
		})
	}
}
