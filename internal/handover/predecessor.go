//go:build linux || darwin || freebsd

package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// takeTimeout is how long the running process may take to hand everything over,
// and then to let this one begin. It gives up before.
const takeTimeout = 10 * time.Second

// ErrNoneRunning is wrapped by the error of Dial where no process listens.
var ErrNoneRunning = errors.New("no relay is running on this state_dir")

// A Predecessor is the running process, seen from the one that takes over.
type Predecessor struct {
	w *wire

	telling sync.Mutex // one claim at a time
	listens bool       // for claims
}

// Dial reaches the process that listens on the control socket at path.
func Dial(path string) (*Predecessor, error) {
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
	return &Predecessor{w: w}, nil
}

// Close ends the connection. Before Serving this means that the takeover has
// failed.
func (p *Predecessor) Close() error {
	p.w.close()
	return nil
}

// Fail tells the running process what went wrong here, and closes the
// connection.
func (p *Predecessor) Fail(why error) { refuse(p.w, why) }

// Take asks for the sockets and the names that the running process serves.
// From now until Ready it accepts nothing. The caller closes the sockets.
func (p *Predecessor) Take() (sockets []Socket, names []string, err error) {
	p.w.conn.SetDeadline(time.Now().Add(takeTimeout))
	if err := p.w.send(message{Op: "takeover", Version: version, PID: os.Getpid()}); err != nil {
		return nil, nil, fmt.Errorf("ask to take over: %w", err)
	}
	for {
		m, err := p.w.receive("socket", "names", "end")
		if err == nil && m.Op == "socket" {
			var k Socket
			if k, err = p.socket(m); err == nil {
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

func (p *Predecessor) socket(m message) (Socket, error) {
	f, err := p.w.file(m.For)
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
// With an error the running process goes on by itself.
func (p *Predecessor) Ready() error {
	p.w.conn.SetDeadline(time.Now().Add(takeTimeout))
	if err := p.w.send(message{Op: "ready"}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	m, err := p.w.receive("go")
	if err != nil {
		return fmt.Errorf("wait for the word to begin: %w", err)
	}
	p.telling.Lock()
	defer p.telling.Unlock()
	p.listens = m.Claims
	return nil
}

// Serving says that connections are accepted here from now on. With an error
// the running process goes on by itself, and nothing must be accepted here.
func (p *Predecessor) Serving() error {
	if err := p.w.send(message{Op: "serving"}); err != nil {
		return fmt.Errorf("say serving: %w", err)
	}
	p.w.conn.SetDeadline(time.Time{})
	return nil
}

// Visitor waits for the next visitor that the running process passes on, and
// returns its connection and the bytes that were read from it. The error is
// io.EOF when no more will come. It is a *PeerError when the running process had
// given up before it heard of Serving: then this one must end.
func (p *Predecessor) Visitor() (net.Conn, []byte, error) {
	m, err := p.w.receive("visitor")
	if err != nil {
		return nil, nil, err
	}
	f, err := p.w.file("visitor")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	c, err := net.FileConn(f)
	return c, m.First, err
}
