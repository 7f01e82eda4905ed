//go:build !(linux || darwin || freebsd)

package main

import (
	"context"
	"errors"
	"os"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay"
)

// A predecessor is what cannot be here.
type predecessor struct {
	names   []string
	sockets []socket
}

func takeOver(string) (*predecessor, error) {
	return nil, cli.Usage(hint.TakeoverHere.Error(errors.New("--takeover does not work on this system")))
}

func (*predecessor) ready() error                 { return nil }
func (*predecessor) serving() error               { return nil }
func (*predecessor) visitors(*relay.Server) error { return nil }
func (*predecessor) claimed(relay.Claimed)        {}
func (*predecessor) close(error)                  {}

// A control is nothing here.
type control struct{}

func (p *process) openControl()  {}
func (p *process) own()          {}
func (p *process) closeControl() {}

func programPath() (string, error) { return os.Executable() }

func upgradeSignal() <-chan os.Signal { return nil }

// wait waits until the process is to drain or cannot go on.
func (p *process) wait(drain, _ context.Context) (heir, error) {
	select {
	case err := <-p.failed:
		return nil, err
	case <-drain.Done():
		return nil, nil
	}
}
