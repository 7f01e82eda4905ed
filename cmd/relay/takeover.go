//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/handover"
	"keystay/internal/hint"
	"keystay/relay"
	"keystay/relay/names"
)

const (
	// readyTimeout is how long the old process takes no connections while the new
	// one takes over; if that does not serve by then the old one goes on.
	readyTimeout = 5 * time.Second
	// reopenPause is the time between attempts to open the record of names again.
	reopenPause = 250 * time.Millisecond
)

// A takeover is what a new process has from the old one.
type takeover struct {
	side    *handover.New
	names   []string
	served  map[string]bool // those
	sockets []socket
	control *net.UnixListener
	api     *net.UnixListener
	done    bool // there is no way back
	cuts    dueCuts
}

func controlPath(dir string) string { return filepath.Join(dir, "relay.sock") }

// takeOver asks the old process, which runs on dir, for all that it serves. That
// accepts nothing from now on, for readyTimeout at most.
func takeOver(dir string) (*takeover, error) {
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
	side, err := handover.Dial(controlPath(dir))
	if err != nil {
		return nil, fail(err)
	}
	sockets, names, err := side.Take()
	if err != nil {
		side.Fail(err)
		return nil, fail(err)
	}
	t := &takeover{side: side, names: names, served: make(map[string]bool, len(names))}
	for _, name := range names {
		t.served[name] = true
	}
	for _, s := range sockets {
		ln, local := s.Listener.(*net.UnixListener)
		switch {
		case local && s.For == "control":
			t.control = ln
			continue
		case local && s.For == "api":
			t.api = ln
			continue
		}
		t.sockets = append(t.sockets, socket{what: s.For, addr: s.Addr, activated: s.Activated, ln: s.Listener})
	}
	return t, nil
}

func (t *takeover) ready() error   { return t.side.Ready() }
func (t *takeover) serving() error { t.done = true; return t.side.Serving() }

// visitors serves those that the old process passes on, until it ends. The error
// says that it has not ended, but goes on by itself.
func (t *takeover) visitors(srv *relay.Server, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for lost := 0; ; {
		c, first, err := t.side.Visitor()
		var goesOn *handover.PeerError
		switch {
		case errors.As(err, &goesOn):
			return fmt.Errorf("take over: %w", err)
		case errors.Is(err, handover.ErrLost): // as without a descriptor: whoever follows may have one
			if lost++; lost == 1 {
				log.Warn("a visitor of the old process is lost; further ones are not told", "err", err)
			}
			continue
		case err != nil:
			return nil // EOF, or the new process ends
		}
		wg.Go(func() { srv.Adopt(c, first) })
	}
}

// had reports whether the old process has served a name.
func (t *takeover) had(name string) bool { return t.served[name] }

// claimed tells the old process of a name that a remote has got here. It may be
// gone, and then there is nobody to tell.
func (t *takeover) claimed(c relay.Claimed) {
	t.side.Claimed(handover.Claim{Name: c.Name, Key: c.Key, Number: c.Run.Number, Run: c.Run.ID[:], Replica: c.Replica})
}

// An oldProcess is the old process's side of a takeover that is done.
type oldProcess struct{ *handover.Old }

// listenTo lets the server of this process, which is handed over, know of the names
// that remotes get in the new process and of what is cut there, until either process
// ends, and passes that on to the process that before handed over to this one, if
// there is one. Missed says that the new process could not tell all.
func (p *process) listenTo(o *oldProcess) (missed bool) {
	before := p.takeover
	earlier := make(map[string][]string) // by the identity to which they have handed over
	missed = o.Told(func(c handover.Claim) {
		run := framing.Run{Number: c.Number}
		copy(run.ID[:], c.Run)
		p.srv.ClaimedElsewhere(relay.Claimed{Name: c.Name, Key: c.Key, Run: run, Replica: c.Replica})
		if before != nil {
			before.side.Claimed(c)
		}
	}, func(h handover.Cut) {
		if len(h.Earlier) > 0 {
			earlier[h.Identity] = append(earlier[h.Identity], h.Earlier...)
		}
		c := relay.Cut{Identity: h.Identity, Name: h.Name, Why: names.Denied{Code: names.Code(h.Code), Text: h.Text, Hints: h.Hints}}
		c.Earlier = slices.Clip(earlier[h.Identity])
		c.Address, _ = netip.ParseAddrPort(h.Address)
		c.Addresses, _ = netip.ParsePrefix(h.Addresses)
		p.wg.Go(func() { p.srv.Cut(c) }) // which tells the process before, by OnCut
	})
	if missed && before != nil {
		before.side.Missed()
	}
	return missed
}

// close tells the old process that it is to go on, if it is not too late.
func (t *takeover) close(err error) {
	if !t.done {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		t.side.Fail(err)
		return
	}
	t.cuts.end()
	t.side.Close()
}

// offer hands everything over to the new process. With an error the old one goes on
// as if nothing had been.
func (p *process) offer(cut context.Context, o *handover.Old) error {
	p.log.Info("a new process asks to take over", "pid", o.PID)
	ctx, cancel := context.WithTimeout(cut, readyTimeout)
	defer cancel()
	if p.stopReopen != nil {
		p.stopReopen()
	}
	if p.api != nil {
		p.api.Pause()
	}
	p.cert.pause()
	if err := p.srv.KeepUsage(); err != nil {
		p.log.Warn("cannot keep what was used of the month; the new process counts without the last minute", "err", err, hint.Attr(hint.All(err)))
	}
	p.grants.pause()
	if err := p.srv.Pause(); err != nil {
		o.Refuse(err)
		p.resume()
		return err
	}
	list := make([]handover.Socket, 0, len(p.sockets)+1)
	for _, k := range p.sockets {
		list = append(list, handover.Socket{For: k.what, Addr: k.addr, Activated: k.activated, Listener: k.ln})
	}
	for _, k := range p.srv.Ports() {
		list = append(list, handover.Socket{For: tcpSocket, Addr: strconv.Itoa(int(k.Port)), Listener: k.Listener})
	}
	list = append(list, handover.Socket{For: "control", Listener: p.control.Listener})
	if err := o.Offer(ctx, list, p.srv.Served()); err != nil {
		p.srv.Resume()
		p.resume()
		return err
	}
	p.node.close()        // the new process is the node now
	_ = p.control.Leave() // the new process has it, and what follows
	p.keepAPI(false)
	p.wg.Go(p.closeAPI)
	return nil
}

// resume takes up again what offer ended. While the record of names cannot be
// opened, because the new process still has it, it is tried again.
func (p *process) resume() {
	if p.api != nil {
		p.api.Resume()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	p.stopReopen = func() { cancel(); <-done }
	go func() {
		defer close(done)
		for first := true; ; first = false {
			err := p.grants.reopen()
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
