//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/handover"
	"keystay/internal/hint"
	"keystay/relay"
)

const (
	// readyTimeout is how long this process takes no connections while another
	// one takes over; if that does not serve by then this one goes on.
	readyTimeout = 5 * time.Second
	// reopenPause is the time between attempts to open the record of names again.
	reopenPause = 250 * time.Millisecond
)

// A predecessor is the process that this one takes over from.
type predecessor struct {
	conn    *handover.New
	names   []string
	sockets []socket
	control *net.UnixListener
	done    bool // there is no way back
}

func controlPath(dir string) string { return filepath.Join(dir, "relay.sock") }

// takeOver asks the process that runs on dir for all that it serves. It accepts
// nothing from now on, for readyTimeout at most.
func takeOver(dir string) (*predecessor, error) {
	fail := func(err error) error {
		failed := fmt.Errorf("take over: %w", err)
		switch {
		case errors.Is(err, handover.ErrNoneRunning):
			return hint.NoTakeover.Error(failed)
		case errors.Is(err, handover.ErrLongPath):
			return hint.LongState.Error(failed)
		}
		return failed
	}
	conn, err := handover.Dial(controlPath(dir))
	if err != nil {
		return nil, fail(err)
	}
	sockets, names, err := conn.Take()
	if err != nil {
		conn.Fail(err)
		return nil, fail(err)
	}
	b := &predecessor{conn: conn, names: names}
	for _, s := range sockets {
		if ln, ok := s.Listener.(*net.UnixListener); ok && s.For == "control" {
			b.control = ln
			continue
		}
		b.sockets = append(b.sockets, socket{what: s.For, addr: s.Addr, activated: s.Activated, ln: s.Listener})
	}
	return b, nil
}

func (b *predecessor) ready() error   { return b.conn.Ready() }
func (b *predecessor) serving() error { b.done = true; return b.conn.Serving() }

// visitors serves those that the process before passes on, until it ends. The
// error says that it has not ended, but goes on by itself.
func (b *predecessor) visitors(srv *relay.Server) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, first, err := b.conn.Visitor()
		var goesOn *handover.PeerError
		switch {
		case errors.As(err, &goesOn):
			return fmt.Errorf("take over: %w", err)
		case err != nil:
			return nil // EOF, or this process ends
		}
		wg.Go(func() { srv.Adopt(c, first) })
	}
}

// claimed tells the process before of a name that a remote has got here. It may
// be gone, and then there is nobody to tell.
func (b *predecessor) claimed(c relay.Claimed) {
	_ = b.conn.Claimed(handover.Claim{Name: c.Name, Key: c.Key, Number: c.Run.Number, Run: c.Run.ID[:], Replica: c.Replica})
}

// A successor is a process that has taken over from this one.
type successor struct{ *handover.Old }

// claims lets srv, which is handed over, know of the names that remotes get
// there, until the other process or this one ends.
func (s successor) claims(srv *relay.Server) {
	s.Claims(func(c handover.Claim) {
		run := framing.Run{Number: c.Number}
		copy(run.ID[:], c.Run)
		srv.ClaimedElsewhere(relay.Claimed{Name: c.Name, Key: c.Key, Run: run, Replica: c.Replica})
	})
}

// close tells the process before that it is to go on, if it is not too late.
func (b *predecessor) close(err error) {
	if !b.done {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		b.conn.Fail(err)
		return
	}
	b.conn.Close()
}

// A control is the socket in state_dir on which another process asks to take
// over.
type control struct {
	*handover.Control
}

// openControl opens the control socket, or takes the one of the process before.
// Without it everything else works.
func (p *process) openControl() {
	if p.before != nil && p.before.control != nil {
		p.control = &control{&handover.Control{Listener: p.before.control}}
		return
	}
	c, err := handover.Listen(controlPath(p.cfg.StateDir))
	if err != nil {
		if errors.Is(err, handover.ErrLongPath) {
			err = hint.LongState.Error(err)
		} else {
			err = hint.NoControl.Error(err, "FILE", controlPath(p.cfg.StateDir))
		}
		p.log.Warn("there is no control socket: --takeover and SIGUSR2 will not work", "err", err, hint.Attr(hint.All(err)))
		return
	}
	p.control = &control{c}
}

// own makes the control socket, which was the other process's, this one's to
// remove in the end.
func (p *process) own() {
	if p.control != nil {
		p.control.Listener.SetUnlinkOnClose(true)
	}
}

func (p *process) closeControl() {
	if p.control != nil {
		p.control.Close()
	}
}

// requests has each process that asks to take over, until the control socket
// is closed or ctx ends.
func (p *process) requests(ctx context.Context) <-chan *handover.Old {
	list := make(chan *handover.Old)
	if p.control == nil {
		return list
	}
	p.wg.Go(func() {
		for {
			s, err := p.control.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // such as too many open files
				p.log.Warn("cannot accept on the control socket", "err", err)
				select {
				case <-time.After(time.Second):
					continue
				case <-ctx.Done():
					return
				}
			}
			select {
			case list <- s:
			case <-ctx.Done():
				s.Refuse(errors.New("this process is about to end"))
			}
		}
	})
	return list
}

// offer hands everything over to s. With an error this process goes on as if
// nothing had been.
func (p *process) offer(cut context.Context, s *handover.Old) error {
	p.log.Info("another process asks to take over", "pid", s.PID)
	ctx, cancel := context.WithTimeout(cut, readyTimeout)
	defer cancel()
	if p.stopReopen != nil {
		p.stopReopen()
	}
	p.cert.pause()
	p.grants.Close()
	if err := p.srv.Pause(); err != nil {
		s.Refuse(err)
		p.resume()
		return err
	}
	list := make([]handover.Socket, 0, len(p.sockets)+1)
	for _, k := range p.sockets {
		list = append(list, handover.Socket{For: k.what, Addr: k.addr, Activated: k.activated, Listener: k.ln})
	}
	list = append(list, handover.Socket{For: "control", Listener: p.control.Listener})
	if err := s.Offer(ctx, list, p.srv.Served()); err != nil {
		p.srv.Resume()
		p.resume()
		return err
	}
	_ = p.control.Leave() // the new process has it
	return nil
}

// resume takes up again what offer ended. While the record of names cannot be
// opened, because whoever failed to take over still has it, it is tried again.
func (p *process) resume() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	p.stopReopen = func() { cancel(); <-done }
	go func() {
		defer close(done)
		for first := true; ; first = false {
			err := p.grants.Reopen()
			if err == nil {
				if !first {
					p.log.Info("the record of names is open again")
				}
				return
			}
			if first {
				p.log.Error("cannot open the record of names again; trying on", "err", err)
			}
			select {
			case <-time.After(reopenPause):
			case <-ctx.Done():
				return
			}
		}
	}()
	p.cert.resume()
}
