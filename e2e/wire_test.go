package e2e

import (
	"net"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// A wire is a TCP proxy between two programs that can be told to misbehave.
type wire struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu     sync.Mutex
	silent bool
	slice  int           // the most bytes of one write, 0 for no limit
	heard  chan struct{} // closed when silent ends
	conns  map[net.Conn]struct{}
	closed bool
}

// wireCommand is the command
//
//	wire NAME to HOST:PORT   lay a wire and set $NAME to its end
//	wire NAME silent         swallow everything, as a cut cable does: no FIN, no RST
//	wire NAME heard          carry on, also what was swallowed
//	wire NAME cut            reset every connection
//	wire NAME slice N        write no more than N bytes at once
func wireCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wire NAME to|silent|heard|cut|slice [ARG]")
	}
	w := settingOf(ts)
	l := w.wires[args[0]]
	if l == nil && (args[1] != "to" || len(args) != 3) {
		ts.Fatalf("no wire is called %s", args[0])
	}
	switch args[1] {
	case "to":
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		l = &wire{ln: ln, target: args[2], heard: make(chan struct{}), conns: make(map[net.Conn]struct{})}
		l.wg.Go(l.serve)
		w.wires[args[0]] = l
		ts.Setenv(args[0], ln.Addr().String())
	case "silent":
		l.setSilent(true)
	case "heard":
		l.setSilent(false)
	case "cut":
		l.cut()
	case "slice":
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		l.mu.Lock()
		l.slice = n
		l.mu.Unlock()
	default:
		ts.Fatalf("a wire cannot be %s", args[1])
	}
}

func (l *wire) serve() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.carry(c.(*net.TCPConn)) })
	}
}

// carry joins c to the target until both directions have ended.
func (l *wire) carry(c *net.TCPConn) {
	defer c.Close()
	if !l.keep(c) {
		return
	}
	defer l.forget(c)
	t, err := net.Dial("tcp", l.target)
	if err != nil {
		c.SetLinger(0)
		return
	}
	defer t.Close()
	if !l.keep(t) {
		return
	}
	defer l.forget(t)
	var wg sync.WaitGroup
	wg.Go(func() { l.copy(t.(*net.TCPConn), c) })
	l.copy(c, t.(*net.TCPConn))
	wg.Wait()
}

// copy carries one direction.
func (l *wire) copy(dst, src *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		slice := l.pass()
		for b := buf[:n]; len(b) > 0; {
			m := len(b)
			if slice > 0 {
				m = min(m, slice)
			}
			if _, werr := dst.Write(b[:m]); werr != nil {
				src.SetLinger(0)
				src.Close()
				return
			}
			b = b[m:]
		}
		if err != nil {
			dst.CloseWrite()
			return
		}
	}
}

// pass waits while the wire is silent and returns the most bytes of one write.
func (l *wire) pass() int {
	for {
		l.mu.Lock()
		if !l.silent || l.closed {
			defer l.mu.Unlock()
			return l.slice
		}
		heard := l.heard
		l.mu.Unlock()
		<-heard
	}
}

func (l *wire) setSilent(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent && !silent {
		close(l.heard)
		l.heard = make(chan struct{})
	}
	l.silent = silent
}

func (l *wire) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return !l.closed
}

func (l *wire) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *wire) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (l *wire) close() {
	l.ln.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.setSilent(false)
	l.cut()
	l.wg.Wait()
}
