//go:build !(linux || darwin || freebsd)

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay"
)

// A takeover is what cannot be here.
type takeover struct {
	names   []string
	sockets []socket
}

func takeOver(string) (*takeover, error) {
	return nil, cli.Usage(hint.TakeoverHere.Error(errors.New("--takeover does not work on this system")))
}

func (*takeover) ready() error                               { return nil }
func (*takeover) serving() error                             { return nil }
func (*takeover) visitors(*relay.Server, *slog.Logger) error { return nil }
func (*takeover) had(string) bool                            { return false }
func (*takeover) claimed(relay.Claimed)                      {}
func (*takeover) close(error)                                {}

// An oldProcess is what cannot be here.
type oldProcess struct{}

func (*oldProcess) Pass(net.Conn, []byte) error { return errors.ErrUnsupported }
func (*oldProcess) Close() error                { return nil }

// A control is nothing here.
type control struct{}

func (p *process) openControl()              {}
func (p *process) own()                      {}
func (p *process) closeControl()             {}
func (p *process) listenTo(*oldProcess) bool { return false }
func (p *process) cutOld(relay.Cut)          {}

// openAPI opens nothing: whose the other end of a socket is cannot be told here.
func (p *process) openAPI() {
	p.log.Warn("there is no socket for the operator on this system: relay status and the other levers do not work", hint.Attr(hint.LeversHere.Do))
}

func programPath() (string, error) { return os.Executable() }

func upgradeSignal() <-chan os.Signal { return nil }

// wait waits until the process is to drain or cannot go on.
func (p *process) wait(drain, _ context.Context) (*oldProcess, error) {
	select {
	case err := <-p.failed:
		return nil, err
	case <-drain.Done():
		return nil, nil
	}
}
