package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"keystay/internal/outage"
)

// The shortest and the longest pause after an Accept that failed.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// A listener goes on after errors that pass, such as too many open files:
// tcpproxy takes any error of Accept for the end. It can be paused.
type listener struct {
	net.Listener
	log  *slog.Logger
	done <-chan struct{}
	// lasting listeners stay while a server drains, see sockets.stop.
	lasting bool
	// accepted is called before Accept returns a connection, and before pause does.
	// It returns the connection that Accept does; nil is for none, and it is closed.
	accepted func(net.Conn) net.Conn

	failing   outage.Outage
	accepting sync.RWMutex // held for reading by Accept, and locked while paused
}

// Accept returns an error only when the listener is closed.
func (l *listener) Accept() (net.Conn, error) {
	pause := minAcceptPause
	for {
		c, err := l.accept()
		if err == nil {
			if lasted, all, told := l.failing.Ends(); told {
				l.log.Info("connections are accepted again", "addr", l.Addr(), "lasted", lasted, "failures", all)
			}
		}
		switch {
		case err == nil && c == nil: // accepted has closed it
			pause = minAcceptPause
			continue
		case err == nil || errors.Is(err, net.ErrClosed):
			return c, err
		case errors.Is(err, os.ErrDeadlineExceeded): // pause wants the lock
			continue
		}
		if tell, all := l.failing.Failed(1); tell {
			l.log.Error("cannot accept connections; trying again, and whoever is connected stays", "err", err, "failures", all)
		}
		select {
		case <-time.After(pause):
		case <-l.done:
			return nil, net.ErrClosed
		}
		pause = min(2*pause, maxAcceptPause)
	}
}

func (l *listener) accept() (net.Conn, error) {
	l.accepting.RLock()
	defer l.accepting.RUnlock()
	c, err := l.Listener.Accept()
	if err == nil {
		c = l.accepted(c)
	}
	return c, err
}

// pause makes Accept wait. When it has returned, no connection is being taken:
// those that arrive wait in the kernel, for resume or for another process that has the
// socket.
func (l *listener) pause() error {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return fmt.Errorf("pause a %T: %w", l.Listener, errors.ErrUnsupported)
	}
	if err := d.SetDeadline(time.Unix(1, 0)); err != nil {
		return fmt.Errorf("pause %s: %w", l.Addr(), err)
	}
	l.accepting.Lock()
	return nil
}

// resume ends a pause.
func (l *listener) resume() {
	l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{}) // fails if it is closed
	l.accepting.Unlock()
}
