package framing

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/budget"
	"keystay/internal/panics"
	"keystay/internal/socket"
)

var (
	// ErrClosed is the error of a link that this side closed.
	ErrClosed = fmt.Errorf("link: %w", net.ErrClosed)
	// ErrSilent is the error of a link on which nothing arrived for SilenceLimit.
	ErrSilent = errors.New("the other side has gone silent")
	// ErrGoingAway is the error of opening a stream on a link whose other side
	// goes away, and of accepting one after this side's GoAway.
	ErrGoingAway = errors.New("link is going away")
	// ErrTooManyStreams is the error of opening a stream beyond MaxStreams.
	ErrTooManyStreams = errors.New("too many streams on this link")
)

// HelloTimeout is how long a relay waits for HELLO, and a remote for its answer.
const HelloTimeout = 10 * time.Second

// A Handler holds what a Link calls while it reads or writes. Each function may be
// nil. But for Claim and Release they must not block for long: nothing is read, or
// written, meanwhile.
type Handler struct {
	// Welcomed is called by Welcome, before anything is read that follows HELLO: what it
	// sends, TellNodes say, comes before each answer to the remote.
	Welcomed func()
	// Claim answers a remote's claim of a name; only a relay's link calls it.
	// A *Denial goes back as it is, any other error as DeniedUnavailable. It may
	// take its time: one claim or release of a link is decided about after the
	// other, and all else goes on meanwhile. Its context ends with the link, and
	// then Claim must return.
	Claim func(context.Context, Claim) (Claimed, error)
	// Release takes a name back from the identity, as Claim gives it. A
	// *NotReleased goes back as it is, any other error as one for now.
	Release func(ctx context.Context, name string) error
	// Unclaim takes a name off the link: no visitor of it is to be sent here any
	// more. The identity keeps it. It must not block for long; only a relay's link
	// calls it.
	Unclaim func(name string)
	// Order begins or ends a run's turn to order a certificate for a name, and
	// reports whether it may begin; only a relay's link calls it.
	Order func(name string, begins bool) bool
	// Lost takes a name away that this link has claimed; only a remote's link
	// calls it.
	Lost func(*Denial)
	// Nodes tells of the nodes of the relay, after Welcome and when they change. Only a
	// remote's link calls it, and never where the relay runs on one machine.
	Nodes func(Nodes)
	// GoAway tells that the other side will be gone. The link opens no stream
	// from then on, and acknowledges it once GoAway has returned.
	GoAway func(GoAway)
	// LaneTokens grants up to n tokens for lanes to this link, and remembers
	// them; only a relay's link calls it. Nil grants none.
	LaneTokens func(n int) []LaneToken
	// Bulk tells that a stream has carried BulkAfter bytes or more in one
	// direction, and so is worth a lane; as long as it has none, once more each
	// time that it has carried four times as much. Only the link of a remote calls
	// it, and only if the relay has lanes.
	Bulk      func(*Stream)
	BulkAfter int64
	// Chatty tells, in the same way, of a stream on which data has come in answer
	// to data, eight times since it was called last.
	Chatty func(*Stream)
	// Warm reports whether up to WarmBytes of PADDING may be sent on the link, so that
	// it carries more at once from then on. Only a remote's link calls it, and only
	// where the round trip is long and the window small: once, within some 12 s of the
	// link's beginning. Nil means no.
	Warm func() bool
	// Memory is what the link's streams take memory from; nil is no limit but the
	// link's own. Only a relay's link takes from it.
	Memory *budget.Share
	// Pool is what the link's streams together may have granted to the other side and
	// queued for it, in bytes, beyond the little that each may: MinPool to MaxPool. 0
	// is MaxPool.
	Pool int
	// Stalls counts how often a write of a stream had to wait for credit; nil does not.
	Stalls *atomic.Int64
	// Traffic counts the bytes of streams; nil does not.
	Traffic *Traffic
	// Panics catches the panics of the link's goroutines, each of which ends the
	// link; with nil they end the process.
	Panics *panics.Log
	// Over is called once, on a goroutine of its own, when the link is over: so
	// that nobody has to wait for Done meanwhile, which costs a stack. It is not
	// called where Client or Welcome has failed.
	Over func()

	window sendWindow // nil is socket.SendWindow
}

// A Link is one end of the connection between a remote and a relay. It owns the
// connection and closes it. Its methods may be called from any goroutine.
//
// Each of its parts guards itself. Locks are taken in this order: a stream's; that of
// streams, asks, claims, turns, pulse or lanes; that of sender, pool or the Link.
type Link struct {
	conn      net.Conn
	isRelay   bool
	handler   Handler
	peerMinor uint8             // the other side's minor version
	peerCaps  uint32            // what it can do; at the relay
	identity  ed25519.PublicKey // of HELLO; at the remote
	ports     bool              // both sides have named CapabilityPorts; fixed from the start
	began     time.Time

	reader  reader
	sender  sender
	streams table
	asks    asks   // at the remote
	claims  claims // at the relay
	turns   turns
	pulse   pulse
	lanes   lanes
	returns returns
	pool    pool

	mu   sync.Mutex
	err  error
	over func()        // Handler.Over, once the link has begun
	done chan struct{} // closed with err set
}

func newLink(conn net.Conn, isRelay bool) *Link {
	l := &Link{
		conn:    conn,
		isRelay: isRelay,
		began:   time.Now(),
		done:    make(chan struct{}),
	}
	l.reader.link, l.reader.mux.r = l, &l.reader
	l.sender.link, l.sender.wire = l, wireOf(conn)
	l.sender.changed.L = &l.sender.mu
	l.asks.link, l.claims.link, l.turns.link = l, l, l
	l.pulse.link, l.lanes.link, l.returns.link = l, l, l
	l.streams.link, l.streams.lastID = l, 1
	if !isRelay {
		l.streams.accepted = make(chan *Stream, acceptBacklog)
		l.streams.goodbye.drained = make(chan struct{})
		l.lanes.asking = make(chan struct{}, 1)
		l.asks.places = make(chan struct{}, maxOwnAsked)
	}
	return l
}

// Client says hello on conn, a TLS connection to a relay on which h was signed,
// and waits for the answer. The error is a *Refusal when the relay will not
// have this remote. Client closes conn when it fails; else the Link owns it.
// It is faster where conn runs on a [BufferedConn].
func Client(ctx context.Context, conn net.Conn, h Hello, handler Handler) (*Link, Welcome, error) {
	l := newLink(conn, false)
	l.handler, l.pool.most = handler, handler.Pool
	h.Minor = Minor
	l.identity = h.Key
	stop := l.handshakeDeadline(ctx)
	w, err := l.hello(h)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, Welcome{}, err
	}
	l.peerMinor, l.asks.most = w.Minor, int(w.Names)
	l.agree(h.Capabilities & w.Capabilities)
	l.start()
	return l, w, nil
}

// agree notes the capabilities that both sides have named.
func (l *Link) agree(both uint32) {
	l.lanes.agreed = both&CapabilityLanes != 0
	l.returns.agreed = both&CapabilityReturn != 0
	l.ports = both&CapabilityPorts != 0
}

// handshakeDeadline bounds what follows by HelloTimeout and ctx. The function
// it returns lifts the bound; it reports false when ctx ended first.
func (l *Link) handshakeDeadline(ctx context.Context) (lift func() bool) {
	l.conn.SetDeadline(time.Now().Add(HelloTimeout))
	stop := context.AfterFunc(ctx, func() { l.conn.SetDeadline(time.Unix(1, 0)) })
	return func() bool {
		ok := stop()
		if ok {
			l.conn.SetDeadline(time.Time{})
		}
		return ok
	}
}

func (l *Link) hello(h Hello) (w Welcome, err error) {
	if _, err := l.conn.Write(h.record()); err != nil {
		return w, fmt.Errorf("write HELLO: %w", err)
	}
	t, p, err := readRecord(l.conn)
	if err != nil {
		return w, fmt.Errorf("read the answer to HELLO: %w", socket.NoEOF(err))
	}
	switch t {
	case recWelcome:
		return parseWelcome(p)
	case recRefused:
		r, err := parseRefusal(p)
		if err != nil {
			return w, err
		}
		return w, r
	}
	return w, protocolErrorf("record 0x%02x as the answer to HELLO", t)
}

// Server reads a remote's HELLO from conn. The caller checks it and calls
// Welcome or Refuse. Server closes conn when it fails; else the Link owns it.
// It is faster where conn runs on a [BufferedConn].
func Server(ctx context.Context, conn net.Conn) (*Link, Hello, error) {
	l := newLink(conn, true)
	stop := l.handshakeDeadline(ctx)
	h, err := l.readHello()
	l.peerMinor, l.peerCaps = h.Minor, h.Capabilities
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, Hello{}, err
	}
	return l, h, nil
}

func (l *Link) readHello() (Hello, error) {
	t, p, err := readRecord(l.conn)
	if err != nil {
		return Hello{}, fmt.Errorf("read HELLO: %w", socket.NoEOF(err))
	}
	if t != recHello {
		return Hello{}, protocolErrorf("record 0x%02x instead of HELLO", t)
	}
	return parseHello(p)
}

// Welcome lets the remote in; from then on the handler is called, Welcomed first. It fails
// where the link is over, as when it was closed meanwhile.
func (l *Link) Welcome(w Welcome, handler Handler) error {
	if err := l.handleWith(handler, w.Capabilities); err != nil {
		return err
	}
	w.Minor, w.Names = Minor, MaxNames
	if err := l.sender.write(w.record()); err != nil {
		return err
	}
	if handler.Welcomed != nil {
		handler.Welcomed()
	}
	l.start()
	return nil
}

// handleWith sets what Welcome says, which the end of a link looks at.
func (l *Link) handleWith(handler Handler, capabilities uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.handler, l.pool.most, l.pool.memory = handler, handler.Pool, handler.Memory
	l.agree(l.peerCaps & capabilities)
	return nil
}

// Refuse tells the remote why it is not let in, and closes the connection.
func (l *Link) Refuse(r Refusal) error {
	err := l.sender.write(r.record())
	l.conn.Close()
	return err
}

// start begins to read, to send PING and to notice silence.
func (l *Link) start() {
	socket.UserTimeout(l.conn, ackTimeout)
	socket.Unsent(l.conn, unsent)
	l.pulse.start()
	l.mu.Lock()
	if l.err == nil {
		l.over = l.handler.Over
	} else if l.handler.Over != nil {
		go l.handler.Over()
	}
	l.mu.Unlock()
	go l.reader.loop()
}

// now is the time since the link began, by the monotonic clock: the wall clock
// may be set at any time.
func (l *Link) now() time.Duration { return time.Since(l.began) }

// Identity is the key that HELLO has proved. Only a remote's link knows it.
func (l *Link) Identity() ed25519.PublicKey { return l.identity }

// RemoteAddr is the address of the other side.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// send queues a control record. It never blocks, so that the reader never
// waits for a writer: two sides that did could wait for each other.
func (l *Link) send(rec []byte) {
	if !l.sender.send(rec) {
		l.fail(errTooMuchQueued)
	}
}
