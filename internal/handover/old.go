//go:build linux || darwin || freebsd

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// requestTimeout is how long whoever connects may take to say what it wants.
	requestTimeout = time.Second
	// passTimeout is how long it may take to pass one visitor on.
	passTimeout = time.Second
)

// MaxPath is the longest path of a control socket, in bytes: the room that the
// system has for it, less the zero byte at its end (unix(7)).
const MaxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// ErrLongPath is wrapped by the errors of Listen and Dial for a path longer than
// MaxPath.
var ErrLongPath = fmt.Errorf("its path is longer than %d bytes", MaxPath)

// fits refuses a path that is too long for a socket. The system says no more
// than "invalid argument".
func fits(path string) error {
	if len(path) > MaxPath {
		return fmt.Errorf("control socket %s: %w", path, ErrLongPath)
	}
	return nil
}

// A Socket is a listening socket that is handed over.
type Socket struct {
	For       string // what it is for, such as "public"
	Addr      string // as it stands in the configuration
	Activated bool   // the service manager opened it
	Listener  net.Listener
}

// Control is the socket on which a process waits for a new one, to which it is the
// old one.
type Control struct {
	// Listener is what is handed over in the end.
	Listener *net.UnixListener
}

// Listen opens the control socket at path, with mode 0600. What a process that
// was killed left there is replaced: the caller knows that no other one runs.
func Listen(path string) (*Control, error) {
	if err := fits(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return &Control{Listener: ln}, nil
}

// Accept waits for a new process that asks to take over. The error wraps
// net.ErrClosed after Close; whoever asks for anything else, or is another
// user's, is turned away without one.
func (c *Control) Accept() (*Old, error) {
	for {
		conn, err := c.Listener.AcceptUnix()
		if err != nil {
			return nil, err
		}
		s, err := accept(conn)
		if err == nil {
			return s, nil
		}
	}
}

// Close closes the socket and removes it.
func (c *Control) Close() error { return c.Listener.Close() }

// Leave closes the socket in the old process: the new one has it.
func (c *Control) Leave() error {
	c.Listener.SetUnlinkOnClose(false)
	return c.Listener.Close()
}

// Old is the old process's side of a takeover: it hands over to the new one.
type Old struct {
	w         *wire
	passing   sync.Mutex // one visitor at a time
	listening sync.Mutex // held while Told runs

	// PID is the number of the new process, by its own word.
	PID int
}

func accept(conn *net.UnixConn) (*Old, error) {
	w, err := newWire(conn)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(requestTimeout))
	m, err := w.receive("takeover")
	if err == nil && m.Version != version {
		err = fmt.Errorf("version %d is spoken here, not %d", version, m.Version)
	}
	if err != nil {
		refuse(w, err)
		return nil, err
	}
	return &Old{w: w, PID: m.PID}, nil
}

// refuse says why and closes.
func refuse(w *wire, why error) {
	w.conn.SetWriteDeadline(time.Now().Add(requestTimeout))
	_ = w.send(message{Op: "error", Error: why.Error()})
	w.close()
}

// Refuse tells the new process why it is not let in, or no more, and closes the
// connection.
func (o *Old) Refuse(why error) { refuse(o.w, why) }

// Close ends the connection: the new process gives up, or, after Offer has
// returned nil, knows that no visitor follows.
func (o *Old) Close() error {
	o.w.conn.Close() // which ends Told
	o.listening.Lock()
	defer o.listening.Unlock()
	o.w.close()
	return nil
}

// Offer hands the sockets and names over and waits until the new process serves. With an error, also that of ctx, it does not and will not, and the
// caller goes on as before. The caller accepts nothing meanwhile.
func (o *Old) Offer(ctx context.Context, sockets []Socket, names []string) error {
	if t, ok := ctx.Deadline(); ok {
		o.w.conn.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { o.w.conn.SetDeadline(time.Unix(1, 0)) })
	err := o.offer(sockets, names)
	if !stop() && err != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		refuse(o.w, fmt.Errorf("not taken over: %w", err))
		return err
	}
	o.w.conn.SetDeadline(time.Time{})
	return nil
}

func (o *Old) offer(sockets []Socket, names []string) error {
	for _, k := range sockets {
		raw, ok := k.Listener.(syscall.Conn)
		if !ok {
			return fmt.Errorf("hand over a %T: %w", k.Listener, errors.ErrUnsupported)
		}
		if err := o.w.sendWith(message{Op: "socket", For: k.For, Addr: k.Addr, Activated: k.Activated}, raw); err != nil {
			return fmt.Errorf("hand over a socket: %w", err)
		}
	}
	for len(names) > 0 {
		n := min(len(names), namesPerLine)
		if err := o.w.send(message{Op: "names", Names: names[:n]}); err != nil {
			return fmt.Errorf("hand over names: %w", err)
		}
		names = names[n:]
	}
	if err := o.w.send(message{Op: "end"}); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if _, err := o.w.receive("ready"); err != nil {
		return fmt.Errorf("wait until it is ready: %w", err)
	}
	if err := o.w.send(message{Op: "go", Claims: true, Cuts: true, Earlier: true}); err != nil {
		return fmt.Errorf("let it begin: %w", err)
	}
	if _, err := o.w.receive("serving"); err != nil {
		return fmt.Errorf("wait until it serves: %w", err)
	}
	return nil
}

// Pass gives a visitor to the new process, with the bytes that were read from it. The caller closes v afterwards. Pass may be called from several
// goroutines.
func (o *Old) Pass(v net.Conn, first []byte) error {
	raw, ok := v.(syscall.Conn)
	if !ok {
		return fmt.Errorf("pass on a %T: %w", v, errors.ErrUnsupported)
	}
	o.passing.Lock()
	defer o.passing.Unlock()
	o.w.conn.SetWriteDeadline(time.Now().Add(passTimeout))
	err := o.w.sendWith(message{Op: "visitor", First: first}, raw)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		o.w.conn.Close() // a part of the line is gone, and the next visitors are not to wait too
	}
	return err
}
