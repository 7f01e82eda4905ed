// Package screen is the live screen of a remote on a terminal. It shows what it is given
// and knows nothing of links, names and requests; it is the only import of bubbletea, of
// lipgloss and of the QR codes.
package screen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
)

const (
	// lookEvery is how often the figures are asked for.
	lookEvery = 500 * time.Millisecond
	// framesPerSecond bounds how often the terminal is written to.
	framesPerSecond = 10
	// closeTimeout is how long the end waits for a terminal that takes nothing, such as
	// one whose network is gone.
	closeTimeout = 2 * time.Second
)

// A Config is what a screen shows, and does.
type Config struct {
	// In and Out are the terminal.
	In, Out *os.File
	// Figures returns what is to be shown now. One goroutine asks, twice a second.
	Figures func() Figures
	// Failed is told why the screen has ended without being asked to. The program goes on
	// without it.
	Failed func(error)
	// Stop is called for each key that asks for the end. It does not wait.
	Stop func()
	// Guard is the argument that makes this program call StandGuard; empty is no guard.
	Guard string
	// Inspector is the address of the inspector's page; empty is none.
	Inspector string
}

// A Screen is on a terminal from Start to Close.
type Screen struct {
	config Config
	up     atomic.Bool
	end    chan struct{} // closed when the screen is to end
	over   chan struct{} // closed when it has
	err    error         // why, where it was not asked to; once over is closed
}

// Start takes the terminal. Close gives it back.
func Start(c Config) *Screen {
	s := &Screen{config: c, end: make(chan struct{}), over: make(chan struct{})}
	s.up.Store(true)
	release := func() {}
	if c.Guard != "" {
		release = guard(c.Out, c.Guard, guardWait)
	}
	go func() {
		defer close(s.over)
		defer release()
		defer s.up.Store(false)
		if s.err = s.run(); s.err != nil {
			s.up.Store(false)
			c.Failed(s.err)
		}
	}()
	return s
}

// Up reports whether the terminal is the screen's now. It is not while the program is in
// the background, nor after the screen has failed.
func (s *Screen) Up() bool { return s.up.Load() }

// Close gives the terminal back as it was. It returns why the screen had failed before, if
// it had.
func (s *Screen) Close() error {
	close(s.end)
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-s.over:
		return s.err
	case <-timer.C:
		return errors.New("the terminal takes nothing any more")
	}
}

// run is on the screen until its end, and lets go of it while the program is stopped.
func (s *Screen) run() error {
	goesOn := make(chan os.Signal, 1)
	hearGoesOn(goesOn)
	defer signal.Stop(goesOn)
	m := newModel(&s.config)
	for {
		program := tea.NewProgram(m, tea.WithInput(s.config.In), tea.WithOutput(s.config.Out),
			tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond))
		ctx, cancel := context.WithCancel(context.Background())
		fed := make(chan error, 1)
		go func() {
			defer program.Quit()
			defer func() { // a mistake in the figures ends the screen, and cuts no visitor
				var err error
				if v := recover(); v != nil {
					err = fmt.Errorf("what is shown cannot be had: %v", v)
				}
				fed <- err
			}()
			s.feed(ctx, program, goesOn)
		}()
		last, err := program.Run()
		cancel()
		if err := cmp.Or(err, <-fed); err != nil {
			return err
		}
		m = last.(model)
		select {
		case <-s.end:
			return nil
		default:
		}
		if m.let == keep {
			return nil
		}
		s.up.Store(false)
		if m.let == stop {
			suspend(goesOn)
		}
		m.let = keep
		if !awaitForeground(s.config.In, s.end) {
			return nil
		}
		s.up.Store(true)
	}
}

// feed gives the program what it shows, until ctx or the screen ends.
func (s *Screen) feed(ctx context.Context, program *tea.Program, goesOn <-chan os.Signal) {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		program.Send(s.config.Figures())
		select {
		case <-every.C:
		case <-goesOn:
			program.Send(wentOn{})
		case <-s.end:
			return
		case <-ctx.Done():
			return
		}
	}
}
