package framing

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// LaneProtocol is the ALPN protocol name of a lane (RFC 7301).
const LaneProtocol = "keystay-lane/1"

// CapabilityLanes is the bit in Hello's and Welcome's Capabilities of a side
// that can move streams to lanes.
const CapabilityLanes = 1 << 0

// Limits of lanes, each named in PROTOCOL.md.
const (
	// TokenTime is how long a token may be used.
	TokenTime = 5 * time.Second
	// MaxSpareLanes is how many lanes of a link may have joined it without
	// being bound to a stream, and how many tokens it may be granted at once,
	// less by those lanes.
	MaxSpareLanes = 16
	// SpareLaneTime is how long a lane may wait for its stream.
	SpareLaneTime = time.Minute
)

// bindTimeout is how long a remote waits for BOUND.
const bindTimeout = 10 * time.Second

// Records of a lane, as long as it is in TLS.
const (
	recJoin  recordType = 0x01
	recBind  recordType = 0x02
	recBound recordType = 0x03
	recTake  recordType = 0x04 // token (32)
	recTaken recordType = 0x05 // offset (8) 1 ended, 0 not (1)
	recFrom  recordType = 0x06 // the same
)

// A LaneToken admits one lane to a link, once, within TokenTime.
type LaneToken [laneTokenSize]byte

const (
	laneTokenSize   = 32
	laneTokenIDSize = 8
)

// NewLaneToken makes a token.
func NewLaneToken() (t LaneToken) {
	rand.Read(t[:])
	return t
}

// ID is the part of a token that names it, and is no secret.
func (t *LaneToken) ID() [8]byte { return [8]byte(t[:laneTokenIDSize]) }

// Equal compares two tokens in constant time.
func (t *LaneToken) Equal(o *LaneToken) bool {
	return subtle.ConstantTimeCompare(t[:], o[:]) == 1
}

// ErrNoLanes is the error of asking for lanes where the other side grants none.
var ErrNoLanes = errors.New("the relay grants no lanes now")

// ErrStreamOver is the error of binding a lane to a stream that has ended
// meanwhile, or has a lane.
var ErrStreamOver = errors.New("the stream is over or has a lane")

// readLaneRecord reads the record of type t, whose payload has at least n
// bytes, and returns these.
func readLaneRecord(r io.Reader, t recordType, n int) ([]byte, error) {
	_, p, err := readLaneRecordOf(r, n, t)
	return p, err
}

// readLaneRecordOf is readLaneRecord for a record of one of several types.
func readLaneRecordOf(r io.Reader, n int, types ...recordType) (t recordType, payload []byte, err error) {
	var h [recordHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	t, size := parseRecordHeader(h[:])
	limit := maxSmall
	if t == recBound {
		limit = 0
	}
	if !slices.Contains(types, t) || size < n || size > limit {
		return 0, nil, protocolErrorf("record 0x%02x of %d bytes on a lane", t, size)
	}
	p := make([]byte, size)
	if _, err := io.ReadFull(r, p); err != nil {
		return 0, nil, socket.NoEOF(err)
	}
	return t, p[:n], nil
}

// readOffset reads TAKEN or FROM.
func readOffset(r io.Reader, t recordType) (offset int64, ended bool, err error) {
	p, err := readLaneRecord(r, t, 9)
	if err != nil {
		return 0, false, err
	}
	if offset = int64(binary.BigEndian.Uint64(p)); offset < 0 || p[8] > 1 {
		return 0, false, protocolErrorf("record 0x%02x at %d, ended %d", t, uint64(offset), p[8])
	}
	return offset, p[8] == 1, nil
}

// offsetRecord is TAKEN or FROM.
func offsetRecord(t recordType, offset int64, ended bool) []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(offset))
	if ended {
		return appendRecord(nil, t, append(p, 1))
	}
	return appendRecord(nil, t, append(p, 0))
}

// A Lane is a lane at the remote: it has joined a link and waits for a stream.
type Lane struct {
	tc       *tls.Conn
	link     *Link
	answered chan struct{} // closed after BOUND, or when the lane is lost: with err set
	err      error
	excused  chan struct{} // closed by LANE_RESET
	excuse   sync.Once
	stream   *Stream   // set by Bind
	taken    time.Time // since when it has its stream, by Stream.Take
}

// JoinLane shows a token on tc, a TLS connection to the relay with
// LaneProtocol, whose handshake is done and which runs on a [TLSRecordConn].
// The Lane owns tc from then on.
func (l *Link) JoinLane(tc *tls.Conn, t LaneToken) (*Lane, error) {
	tc.SetWriteDeadline(time.Now().Add(WriteTimeout))
	if _, err := tc.Write(appendRecord(nil, recJoin, t[:])); err != nil {
		tc.Close()
		return nil, fmt.Errorf("write JOIN: %w", err)
	}
	n := &Lane{tc: tc, link: l, answered: make(chan struct{}), excused: make(chan struct{})}
	go n.read()
	return n, nil
}

// read takes the session tickets, and then BOUND or the end.
func (n *Lane) read() {
	_, n.err = readLaneRecord(n.tc, recBound, 0)
	close(n.answered)
}

// Lost is closed when the lane is lost or bound.
func (n *Lane) Lost() <-chan struct{} { return n.answered }

// Bind moves s to the lane, which is used up by it: on an error it is closed,
// and unless the relay has begun to move the stream that one stays on the link.
// [ErrStreamOver] is no fault of the lane's.
func (n *Lane) Bind(ctx context.Context, s *Stream) error {
	conn, err := n.ready(s)
	if err != nil {
		n.tc.Close()
		return fmt.Errorf("bind a lane: %w", err)
	}
	if !s.lane.expect() {
		n.tc.Close()
		return ErrStreamOver
	}
	n.stream = s
	n.link.lanes.note(n)
	if err := n.bind(ctx, s.id); err != nil {
		if s.over() {
			err = ErrStreamOver // the relay was asked too late
		}
		// Not in good order: an alert of TLS would reach the visitor, if the
		// relay has left TLS already.
		socket.Abort(conn)
		s.lane.lost()
		n.link.lanes.forget(n)
		return fmt.Errorf("bind a lane: %w", err)
	}
	s.lane.attach(conn)
	return nil
}

// ready returns what is below TLS, if the lane can take s.
func (n *Lane) ready(s *Stream) (duplex.Conn, error) {
	if s.link != n.link {
		return nil, errors.New("the stream is of another link")
	}
	select {
	case <-n.answered:
		if n.err == nil {
			return nil, protocolErrorf("BOUND before BIND")
		}
		return nil, n.err
	default:
	}
	return bare(n.tc)
}

func (n *Lane) bind(ctx context.Context, id uint32) error {
	n.tc.SetWriteDeadline(time.Now().Add(bindTimeout))
	if _, err := n.tc.Write(appendRecord(nil, recBind, binary.BigEndian.AppendUint32(nil, id))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	select {
	case <-n.answered:
		return n.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// excuseTime is how long an explanation of a lane's end may take to arrive.
const excuseTime = 3 * time.Second

// Outcome waits until the stream that the lane was bound to is over, or ctx
// ends. Its error is why the lane failed. It is nil when the lane ended as its
// stream did, when the lane has not ended, and when the link is lost, on which the
// relay would have said. Of a lane to another node nobody says why it is reset: there
// it is nil, too, once bytes have come and gone, or after 3 s. Worked means that bytes
// have come and gone on the lane.
// Outcome must be called once Bind has returned nil.
func (n *Lane) Outcome(ctx context.Context) (worked bool, err error) {
	defer n.link.lanes.forget(n)
	select {
	case <-n.stream.lane.over:
	case <-ctx.Done():
	}
	worked, err = n.stream.lane.outcome()
	if err == nil {
		return worked, nil
	}
	if !n.taken.IsZero() {
		if worked || time.Since(n.taken) > takenTrial {
			err = nil
		}
		return worked, err
	}
	timer := time.NewTimer(excuseTime)
	defer timer.Stop()
	select {
	case <-n.excused:
		return worked, nil
	case <-n.link.done:
		return worked, nil
	case <-timer.C:
		return worked, err
	}
}

// Close closes a lane that is not bound.
func (n *Lane) Close() error { return n.tc.Close() }

// laneTimeout is how long what was sent on a lane may wait to be acknowledged, or
// to be read, where the system can tell. It is longer than for a link, which is
// always read: a lane is read as fast as the visitor or the local service behind it
// reads, and these may pause.
const laneTimeout = 5 * time.Minute

// prepareLane sets what holds for a bare lane: no deadline is left from before, it
// is given up after laneTimeout when the path is dead, idle or not, and it is
// reset when this process dies.
func prepareLane(c duplex.Conn) {
	c.SetDeadline(time.Time{})
	socket.UserTimeout(c, laneTimeout)
	if t, ok := c.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: PingInterval, Interval: PingInterval / 2, Count: 3})
	}
	socket.Linger(c, 0)
}
