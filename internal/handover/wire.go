//go:build linux || darwin || freebsd

package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"keystay/internal/socket"
)

const (
	// version is that of the lines.
	version = 1
	// maxLine is the most bytes of one line: a visitor's hello may have 64 KiB,
	// a third more in JSON.
	maxLine = 128 << 10
	// maxWaiting is how many descriptors may wait for the lines that name them.
	maxWaiting = 16
	// maxSockets is how many listening sockets may be handed over: each TCP port that a
	// remote has is one, or several.
	maxSockets = 1 << 17
	// maxNames is how many names may be handed over: as many as a relay gives
	// out.
	maxNames = 1 << 20
	// namesPerLine keeps a line of names below maxLine.
	namesPerLine = 256
)

// A message is one line. What its fields mean depends on Op.
type message struct {
	Op        string   `json:"op"`
	Version   int      `json:"version,omitempty"`
	PID       int      `json:"pid,omitempty"`
	For       string   `json:"for,omitempty"`
	Addr      string   `json:"addr,omitempty"`
	Activated bool     `json:"activated,omitempty"`
	Names     []string `json:"names,omitempty"`
	First     []byte   `json:"first,omitempty"`
	Claims    bool     `json:"claims,omitempty"`  // of go: claims are listened for
	Cuts      bool     `json:"cuts,omitempty"`    // of go: cuts are listened for
	Earlier   bool     `json:"earlier,omitempty"` // of go: cuts may say who has handed over
	Claim     *Claim   `json:"claim,omitempty"`
	Cut       *Cut     `json:"cut,omitempty"`
	Error     string   `json:"error,omitempty"`
}

// A PeerError is what the other process said went wrong there.
type PeerError struct{ Text string }

func (e *PeerError) Error() string { return "the other process says: " + e.Text }

// errForeign is the error of a peer that is another user's.
var errForeign = errors.New("the other process belongs to another user")

// wire sends and receives lines and descriptors.
type wire struct {
	conn *net.UnixConn
	in   []byte // read and not yet a line
	fds  []int  // received and not yet named; noDescriptor is one that got lost
}

// noDescriptor is in the place of a descriptor for which this process had no room: so that
// the lines that follow find their own.
const noDescriptor = -1

// newWire takes conn, after a look at who is behind it.
func newWire(conn *net.UnixConn) (*wire, error) {
	uid, err := socket.PeerUID(conn)
	if err == nil && uid != os.Geteuid() {
		err = errForeign
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &wire{conn: conn}, nil
}

// close closes the connection and the descriptors that nobody asked for.
func (w *wire) close() {
	w.conn.Close()
	for _, fd := range w.fds {
		if fd != noDescriptor {
			unix.Close(fd)
		}
	}
	w.fds = nil
}

// send writes a line.
func (w *wire) send(m message) error { return w.sendWith(m, nil) }

// sendWith writes a line with the descriptor of a socket.
func (w *wire) sendWith(m message, with syscall.Conn) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if len(line) > maxLine {
		return fmt.Errorf("send %s: %d bytes are too long", m.Op, len(line))
	}
	if with == nil {
		_, err = w.conn.Write(line)
		return err
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return err
	}
	// The descriptor itself is sent and no copy of it made: File would leave
	// one to close.
	cerr := raw.Control(func(fd uintptr) {
		var n int
		n, _, err = w.conn.WriteMsgUnix(line, unix.UnixRights(int(fd)), nil)
		if err == nil && n < len(line) {
			_, err = w.conn.Write(line[n:])
		}
	})
	return errors.Join(cerr, err)
}

// receive reads the next line, which must be one of those named. Another
// process's error comes back as a *PeerError.
func (w *wire) receive(ops ...string) (message, error) {
	for {
		if i := bytes.IndexByte(w.in, '\n'); i >= 0 {
			line := w.in[:i]
			w.in = w.in[i+1:]
			return parse(line, ops)
		}
		if len(w.in) >= maxLine {
			return message{}, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
		if err := w.read(); err != nil {
			return message{}, err
		}
	}
}

func parse(line []byte, ops []string) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("read a line: %w", err)
	}
	if m.Op == "error" {
		return message{}, &PeerError{Text: fmt.Sprintf("%.1000q", m.Error)}
	}
	for _, op := range ops {
		if m.Op == op {
			return m, nil
		}
	}
	return message{}, fmt.Errorf("got %.20q instead of %q", m.Op, ops)
}

// read reads what there is, descriptors too.
func (w *wire) read() error {
	buf := make([]byte, 16<<10)
	oob := make([]byte, unix.CmsgSpace(4*maxWaiting))
	n, oobn, flags, _, err := w.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.EOF // bare, as from Read
		}
		return err
	}
	w.in = append(w.in, buf[:n]...)
	messages, perr := unix.ParseSocketControlMessage(oob[:oobn])
	cut := flags&unix.MSG_CTRUNC != 0
	if cut && len(messages) == 0 { // a line is sent with one, and the system brings those of one line at once
		w.fds, cut = append(w.fds, noDescriptor), false
	}
	for _, m := range messages {
		fds, rerr := unix.ParseUnixRights(&m)
		w.fds = append(w.fds, fds...)
		perr = errors.Join(perr, rerr)
	}
	switch {
	case perr != nil:
		return fmt.Errorf("read descriptors: %w", perr)
	case cut || len(w.fds) > maxWaiting:
		return errors.New("read descriptors: too many at once")
	}
	return nil
}

// file returns the oldest descriptor that came and was not named.
func (w *wire) file(name string) (*os.File, error) {
	if len(w.fds) == 0 {
		return nil, errors.New("a line came without its descriptor")
	}
	fd := w.fds[0]
	w.fds = w.fds[1:]
	if fd == noDescriptor {
		return nil, syscall.EMFILE
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
