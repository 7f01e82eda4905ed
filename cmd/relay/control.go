//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"net"
	"time"

	"keystay/internal/handover"
	"keystay/internal/hint"
	"keystay/relay/operator"
)

// A control is the socket in state_dir on which a new process asks to take over.
type control struct {
	*handover.Control
}

// openControl opens the control socket, or takes the one of the old process.
// Without it everything else works.
func (p *process) openControl() {
	if p.takeover != nil && p.takeover.control != nil {
		p.control = &control{&handover.Control{Listener: p.takeover.control}}
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

// openAPI opens the socket on which the operator is answered, or takes the one of the
// old process. Without it everything else works.
func (p *process) openAPI() {
	path := operator.SocketPath(p.cfg.StateDir)
	var ln *net.UnixListener
	if p.takeover != nil {
		ln = p.takeover.api
	}
	if ln == nil {
		c, err := handover.Listen(path)
		if err != nil {
			if errors.Is(err, handover.ErrLongPath) {
				err = hint.LongState.Error(err)
			} else {
				err = hint.NoControl.Error(err, "FILE", path)
			}
			p.log.Warn("there is no socket for the operator: relay status and the other levers will not work", "err", err, hint.Attr(hint.All(err)))
			return
		}
		ln = c.Listener
	}
	p.sockets = append(p.sockets, socket{what: "api", ln: ln})
	p.log.Info("listening", "for", "api", "addr", path)
}

// keepAPI sets who removes the file of the API's socket when it is closed.
func (p *process) keepAPI(remove bool) {
	for _, s := range p.sockets {
		if ln, ok := s.ln.(*net.UnixListener); ok && s.what == "api" {
			ln.SetUnlinkOnClose(remove)
		}
	}
}

// own makes the sockets with a file, which were the old process's, the new one's to
// remove in the end.
func (p *process) own() {
	if p.control != nil {
		p.control.Listener.SetUnlinkOnClose(true)
	}
	p.keepAPI(true)
}

func (p *process) closeControl() {
	if p.control != nil {
		p.control.Close()
	}
}

// requests has the old process's side of each takeover that a new process asks
// for, until the control socket is closed or ctx ends.
func (p *process) requests(ctx context.Context) <-chan *handover.Old {
	list := make(chan *handover.Old)
	if p.control == nil {
		return list
	}
	p.wg.Go(func() {
		for {
			o, err := p.control.Accept()
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
			case list <- o:
			case <-ctx.Done():
				o.Refuse(errors.New("this process is about to end"))
			}
		}
	})
	return list
}
