package relay

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

// maxAcceptPause is the longest pause after an Accept that failed.
const maxAcceptPause = time.Second

// A listener goes on after errors that pass, such as too many open files:
// tcpproxy takes any error of Accept for the end.
type listener struct {
	net.Listener
	log  *slog.Logger
	done <-chan struct{}
}

// Accept returns an error only when the listener is closed.
func (l *listener) Accept() (net.Conn, error) {
	pause := 5 * time.Millisecond
	for {
		c, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return c, err
		}
		l.log.Warn("cannot accept a connection; trying again", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-l.done:
			return nil, net.ErrClosed
		}
		pause = min(2*pause, maxAcceptPause)
	}
}
