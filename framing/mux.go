package framing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/xtaci/smux"
)

const (
	smuxVersion = 2
	// smuxFrame makes a full smux frame (8 bytes of header) with the MUX record
	// around it just one TLS record of 16 KiB.
	smuxFrame = 16<<10 - recordHeader - 8
	// smuxWindow is smux's own window for a stream. It is above maxWindow and the
	// record headers in it, so that only our credit ever limits a stream.
	smuxWindow = 2 << 20
	// acceptBacklog is how many streams may wait for Accept; more are refused.
	// After a takeover hundreds of visitors come at once.
	acceptBacklog = 2048
)

func smuxConfig() *smux.Config {
	return &smux.Config{
		Version:           smuxVersion,
		KeepAliveDisabled: true,
		MaxFrameSize:      smuxFrame,
		MaxReceiveBuffer:  smuxWindow, // nothing gets there
		MaxStreamBuffer:   smuxWindow,
	}
}

func (l *Link) muxed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mux != nil
}

// Open opens a stream for a visitor and sends first on it, what has been read
// from the visitor already; it may block as Write does. Only a relay's link
// opens.
func (l *Link) Open(h Header, first []byte) (*Stream, error) {
	rec, err := h.record()
	if err != nil {
		return nil, err
	}
	mux, err := l.startMux()
	if err != nil {
		return nil, err
	}
	s := newStream(l)
	if err := l.add(s); err != nil {
		return nil, err
	}
	sm, err := mux.OpenStream()
	l.opened()
	if err != nil {
		l.remove(s)
		if errors.Is(err, smux.ErrGoAway) { // ids have run out
			l.fail(err)
		}
		return nil, fmt.Errorf("open stream: %w", l.cause(err))
	}
	s.header = h
	s.local, s.remote = l.conn.LocalAddr(), l.conn.RemoteAddr()
	rest := s.begin(sm, rec, first)
	if len(rest) > 0 {
		if _, err := s.Write(rest); err != nil {
			s.Reset()
			return nil, fmt.Errorf("open stream: %w", err)
		}
	}
	return s, nil
}

// add counts a stream, within MaxStreams. A remote takes up to twice as many:
// it may learn that a stream is over after the relay has put another one in its
// place.
func (l *Link) add(s *Stream) error {
	limit := MaxStreams
	if !l.isRelay {
		limit *= 2
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.err
	case l.isRelay && l.goingAway:
		return ErrGoingAway
	case len(l.streams) >= limit:
		return ErrTooManyStreams
	}
	if l.streams == nil {
		l.streams = make(map[*Stream]struct{})
	}
	l.streams[s] = struct{}{}
	if l.isRelay {
		l.opening++
	} else {
		l.waiting++
	}
	return nil
}

// opened notes that a stream's SYN has been written, or never will be.
func (l *Link) opened() {
	l.mu.Lock()
	l.opening--
	ok := l.acknowledgeLocked()
	l.mu.Unlock()
	if !ok {
		l.fail(errTooMuchQueued)
	}
}

func (l *Link) remove(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	l.checkLocked()
}

// hasBegun notes, at the remote, that a stream has reached accepted, or ended
// before.
func (l *Link) hasBegun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	l.checkLocked()
}

// register makes a stream known by its smux id.
func (l *Link) register(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[uint32]*Stream)
	}
	l.byID[s.id.Load()] = s
}

// unregister forgets a stream's id, once its smux side is closed.
func (l *Link) unregister(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, s.id.Load())
}

// checkLocked wakes WaitIdle and Accept when nothing is left to wait for.
func (l *Link) checkLocked() {
	if l.idle == nil && !l.acked {
		return
	}
	if l.idle != nil && len(l.streams) == 0 {
		close(l.idle)
		l.idle = nil
	}
	if !l.isRelay && l.acked && l.waiting == 0 && !l.isDrained() {
		close(l.drained)
	}
}

// isDrained reports whether Accept has nothing to wait for.
func (l *Link) isDrained() bool {
	select {
	case <-l.drained:
		return true
	default:
		return false
	}
}

// WaitIdle waits until no stream is left or ctx ends. On a link that is lost the
// streams that have lanes are left.
func (l *Link) WaitIdle(ctx context.Context) error {
	l.mu.Lock()
	if len(l.streams) == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NumStreams is how many streams are open, or ended and not yet read to their
// end.
func (l *Link) NumStreams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams)
}

// cause is why the link ended, if it did, else err. A link that the other side
// closed in good order is still no end of a stream in it.
func (l *Link) cause(err error) error {
	if lerr := l.Err(); lerr != nil && lerr != io.EOF {
		return lerr
	}
	return err
}

// startMux returns the session, which begins with the first stream.
func (l *Link) startMux() (*smux.Session, error) {
	if !l.isRelay {
		return nil, errors.New("open stream: only a relay opens streams")
	}
	l.muxMu.Lock()
	defer l.muxMu.Unlock()
	l.mu.Lock()
	mux, err := l.mux, l.err
	l.mu.Unlock()
	if mux != nil || err != nil {
		return mux, err
	}
	mux, err = smux.Client(l.newMuxConn(), smuxConfig())
	if err != nil {
		return nil, fmt.Errorf("start smux: %w", err)
	}
	if !l.setMux(mux) {
		return nil, l.Err()
	}
	l.sender.start()
	go l.acceptNone(mux)
	return mux, nil
}

// setMux makes mux the link's session, or closes it when the link is over.
func (l *Link) setMux(mux *smux.Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		mux.Close()
		return false
	}
	l.mux = mux
	return true
}

// acceptNone ends the link when the remote opens a stream or breaks smux.
func (l *Link) acceptNone(mux *smux.Session) {
	sm, err := mux.AcceptStream()
	if err != nil {
		l.fail(fmt.Errorf("session: %w", asProtocol(err)))
		return
	}
	runtime.SetFinalizer(sm, nil)
	l.fail(protocolErrorf("the remote opened a stream"))
}

// serveMux begins the session on the remote's side.
func (l *Link) serveMux() error {
	if l.muxed() {
		return protocolErrorf("START_MUX twice")
	}
	mux, err := smux.Server(l.newMuxConn(), smuxConfig())
	if err != nil {
		return fmt.Errorf("start smux: %w", err)
	}
	if l.setMux(mux) {
		go l.acceptStreams(mux)
	}
	return nil
}

// acceptStreams takes from smux each stream that the relay opens. The reader
// knows it before; it reaches Accept when its header has arrived.
func (l *Link) acceptStreams(mux *smux.Session) {
	for {
		sm, err := mux.AcceptStream()
		if err != nil {
			l.fail(fmt.Errorf("session: %w", asProtocol(err)))
			return
		}
		// smux would close it when the collector finds it; that is ours to do.
		runtime.SetFinalizer(sm, nil)
		if s := l.stream(sm.ID()); s != nil {
			s.taken(sm)
		}
	}
}

// asProtocol marks smux's own word for a broken session.
func asProtocol(err error) error {
	if errors.Is(err, smux.ErrInvalidProtocol) {
		return protocolErrorf("smux: %v", err)
	}
	return err
}

// Accept returns the next stream that the relay opened. It blocks until there
// is one, or the link is over, or no more can come after GoAway: then the error
// is ErrGoingAway. Only a remote's link accepts.
func (l *Link) Accept() (*Stream, error) {
	select {
	case s := <-l.accepted:
		return s, nil
	case <-l.done:
		return nil, l.Err()
	case <-l.drained:
	}
	select {
	case s := <-l.accepted:
		return s, nil
	default:
		return nil, ErrGoingAway
	}
}
