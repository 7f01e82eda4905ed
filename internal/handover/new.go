//go:build linux || darwin || freebsd

package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// takeTimeout is how long the old process may take to hand everything over, and
// then to let the new one begin. It gives up before.
const takeTimeout = 10 * time.Second

// ErrNoneRunning is wrapped by the error of Dial where there is no old process.
var ErrNoneRunning = errors.New("no relay is running on this state_dir")

// ErrLost is wrapped by the error of Visitor for one visitor that could not be taken:
// others may follow.
var ErrLost = errors.New("a visitor that was passed on is lost")

// New is the new process's side of a takeover: it takes over from the old one.
type New struct {
	w      *wire
	untold untold
}

// Dial reaches the old process, which listens on the control socket at path.
func Dial(path string) (*New, error) {
	if err := fits(path); err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %w", ErrNoneRunning, err)
	}
	if err != nil {
		return nil, err
	}
	w, err := newWire(conn)
	if err != nil {
		return nil, err
	}
	return &New{w: w}, nil
}

// Close ends the connection, when the claims that wait are told, or after a
// second. Before Serving this means that the takeover has failed.
func (n *New) Close() error {
	n.untold.end(n.w)
	n.w.close()
	return nil
}

// Fail tells the old process what went wrong here, and closes the
// connection.
func (n *New) Fail(why error) { refuse(n.w, why) }

// Take asks for the sockets and the names that the old process serves. From now
// until Ready that accepts nothing. The caller closes the sockets.
func (n *New) Take() (sockets []Socket, names []string, err error) {
	n.w.conn.SetDeadline(time.Now().Add(takeTimeout))
	if err := n.w.send(message{Op: "takeover", Version: version, PID: os.Getpid()}); err != nil {
		return nil, nil, fmt.Errorf("ask to take over: %w", err)
	}
	for {
		m, err := n.w.receive("socket", "names", "end")
		if err == nil && m.Op == "socket" {
			var k Socket
			if k, err = n.socket(m); err == nil {
				sockets = append(sockets, k)
			}
		}
		names = append(names, m.Names...)
		switch {
		case err == nil && len(sockets) > maxSockets:
			err = fmt.Errorf("more than %d sockets", maxSockets)
		case err == nil && len(names) > maxNames:
			err = fmt.Errorf("more than %d names", maxNames)
		case err == nil && m.Op == "end":
			return sockets, names, nil
		}
		if err != nil {
			for _, k := range sockets {
				k.Listener.Close()
			}
			return nil, nil, fmt.Errorf("take over: %w", err)
		}
	}
}

func (n *New) socket(m message) (Socket, error) {
	f, err := n.w.file(m.For)
	if err != nil {
		return Socket{}, err
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return Socket{}, fmt.Errorf("take the socket for %s: %w", m.For, err)
	}
	return Socket{For: m.For, Addr: m.Addr, Activated: m.Activated, Listener: ln}, nil
}

// Ready says that everything is open here, and waits for the word to begin.
// With an error the old process goes on by itself.
func (n *New) Ready() error {
	n.w.conn.SetDeadline(time.Now().Add(takeTimeout))
	if err := n.w.send(message{Op: "ready"}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	m, err := n.w.receive("go")
	if err != nil {
		return fmt.Errorf("wait for the word to begin: %w", err)
	}
	n.untold.begin(m.Claims, m.Cuts, m.Earlier)
	return nil
}

// Serving says that connections are accepted here from now on. With an error
// the old process goes on by itself, and nothing must be accepted here.
func (n *New) Serving() error {
	if err := n.w.send(message{Op: "serving"}); err != nil {
		return fmt.Errorf("say serving: %w", err)
	}
	n.w.conn.SetDeadline(time.Time{})
	n.untold.start(n.w)
	return nil
}

// Visitor waits for the next visitor that the old process passes on, and returns
// its connection and the bytes that were read from it. One that has gone meanwhile is
// passed over. The error is io.EOF when no more will come, and wraps ErrLost for a single
// one that cannot be taken, as without a descriptor. It is a *PeerError when the old
// process had given up before it heard of Serving: then the new one must end.
func (n *New) Visitor() (net.Conn, []byte, error) {
	for {
		m, err := n.w.receive("visitor")
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			n.untold.leave()
		}
		if err != nil {
			return nil, nil, err
		}
		c, err := n.visitor()
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrLost, err)
		}
		if c.RemoteAddr() != nil { // else it was reset, and the system has forgotten whose it is
			return c, m.First, nil
		}
		c.Close()
	}
}

func (n *New) visitor() (net.Conn, error) {
	f, err := n.w.file("visitor")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileConn(f)
}
