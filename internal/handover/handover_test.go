//go:build linux || darwin || freebsd

package handover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"keystay/internal/handover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// control opens a control socket, and checks at the end that no descriptor is
// left.
func control(t *testing.T) (*handover.Control, string) {
	t.Helper()
	before := descriptors(t)
	dir, err := os.MkdirTemp("", "ho") // short: a socket's path has 104 bytes
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "relay.sock")
	c, err := handover.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		os.RemoveAll(dir)
		after := descriptors(t)
		for end := time.Now().Add(time.Minute); after > before && time.Now().Before(end); after = descriptors(t) {
			runtime.Gosched() // a goroutine of a test closes its own when it ends
		}
		if after > before {
			t.Errorf("%d descriptors, %d before", after, before)
		}
	})
	return c, path
}

func descriptors(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func TestHandoverPassesSocketsAndNames(t *testing.T) {
	c, path := control(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	public, admin := listen(t), listen(t)
	defer public.Close()
	defer admin.Close()
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("%s%d.relay.test", strings.Repeat("x", 40), i))
	}
	first := []byte(strings.Repeat("\x00\xff\n", 20000)) // 60,000 bytes

	old := make(chan error, 1)
	go func() {
		s, err := c.Accept()
		if err != nil {
			old <- err
			return
		}
		defer s.Close()
		if s.PID != os.Getpid() {
			err = fmt.Errorf("pid %d", s.PID)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, s.Offer(ctx, []handover.Socket{
			{For: "public", Addr: ":443", Listener: public},
			{For: "admin", Addr: "x", Activated: true, Listener: admin},
			{For: "control", Listener: c.Listener},
		}, names))
		v, verr := public.Accept()
		if verr == nil {
			verr = s.Pass(v, first)
			v.Close()
		}
		old <- errors.Join(err, verr)
	}()

	p, err := handover.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sockets, got, err := p.Take()
	if err != nil {
		t.Fatal(err)
	}
	if len(sockets) != 3 || len(got) != len(names) || got[999] != names[999] {
		t.Fatalf("%d sockets, %d names", len(sockets), len(got))
	}
	if k := sockets[0]; k.For != "public" || k.Addr != ":443" || k.Activated || k.Listener.Addr().String() != public.Addr().String() {
		t.Errorf("got %+v", k)
	}
	if k := sockets[1]; k.For != "admin" || !k.Activated {
		t.Errorf("got %+v", k)
	}
	if _, ok := sockets[2].Listener.(*net.UnixListener); !ok {
		t.Errorf("got a %T", sockets[2].Listener)
	}
	for _, k := range sockets {
		defer k.Listener.Close()
	}
	if err := errors.Join(p.Ready(), p.Serving()); err != nil {
		t.Fatal(err)
	}
	visitor, err := net.Dial("tcp", public.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer visitor.Close()
	passed, read, err := p.Visitor()
	if err != nil || string(read) != string(first) {
		t.Fatalf("%d bytes, %v", len(read), err)
	}
	defer passed.Close()
	if err := <-old; err != nil {
		t.Error(err)
	}
	// The connection lives on, both ways, though the old process closed its own.
	io.WriteString(visitor, "ping")
	b := make([]byte, 4)
	if _, err := io.ReadFull(passed, b); err != nil || string(b) != "ping" {
		t.Errorf("%q, %v", b, err)
	}
	io.WriteString(passed, "pong")
	if _, err := io.ReadFull(visitor, b); err != nil || string(b) != "pong" {
		t.Errorf("%q, %v", b, err)
	}
	if _, _, err := p.Visitor(); err != io.EOF {
		t.Errorf("after the last visitor: %v", err)
	}
}

func TestNoneRunningIsTold(t *testing.T) {
	c, path := control(t)
	if err := c.Leave(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("Leave removed the socket: %v", err)
	}
	for _, path := range []string{path, path + ".missing"} {
		if _, err := handover.Dial(path); !errors.Is(err, handover.ErrNoneRunning) {
			t.Errorf("%v", err)
		}
	}
	again, err := handover.Listen(path) // over what was left
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close left the socket: %v", err)
	}
}

// Whatever a new process does that asks to take over, the old one learns that
// nothing came of it.
func TestOldProcessGoesOnWhenTheNewOneFails(t *testing.T) {
	const ask = `{"op":"takeover","version":1}` + "\n"
	tests := map[string]func(c *net.UnixConn){
		"ends after asking": func(c *net.UnixConn) {
			io.WriteString(c, ask)
		},
		"ends after taking": func(c *net.UnixConn) {
			io.WriteString(c, ask)
			c.Read(make([]byte, 1000))
		},
		"says what is wrong": func(c *net.UnixConn) {
			io.WriteString(c, ask+`{"op":"error","error":"no"}`+"\n")
			io.Copy(io.Discard, c)
		},
		"sends noise": func(c *net.UnixConn) {
			io.WriteString(c, ask+"noise\n")
			io.Copy(io.Discard, c)
		},
		"sends a long line": func(c *net.UnixConn) {
			io.WriteString(c, ask+strings.Repeat("x", 200<<10))
			io.Copy(io.Discard, c)
		},
		"skips a step": func(c *net.UnixConn) {
			io.WriteString(c, ask+`{"op":"serving"}`+"\n")
			io.Copy(io.Discard, c)
		},
		"is ready and ends": func(c *net.UnixConn) {
			io.WriteString(c, ask+`{"op":"ready"}`+"\n")
		},
		"sends descriptors": func(c *net.UnixConn) {
			io.WriteString(c, ask)
			c.Read(make([]byte, 1))
			fds := make([]int, 20)
			c.WriteMsgUnix([]byte("x"), unix.UnixRights(fds...), nil)
			io.Copy(io.Discard, c)
		},
		"hangs": func(c *net.UnixConn) {
			io.WriteString(c, ask)
			io.Copy(io.Discard, c)
		},
		"hangs when ready": func(c *net.UnixConn) {
			io.WriteString(c, ask+`{"op":"ready"}`+"\n")
			io.Copy(io.Discard, c)
		},
	}
	for name, behave := range tests {
		t.Run(name, func(t *testing.T) {
			c, path := control(t)
			ln := listen(t)
			defer ln.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				behave(conn)
			}()
			s, err := c.Accept()
			if err != nil {
				t.Fatal(err)
			}
			patience := 200 * time.Millisecond // for one that says nothing
			if name == "says what is wrong" {
				patience = time.Minute
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := s.Offer(ctx, []handover.Socket{{For: "public", Listener: ln}}, []string{"a.relay.test"}); err == nil {
				t.Error("no error")
			} else if name == "says what is wrong" {
				var peer *handover.PeerError
				if !errors.As(err, &peer) || !strings.Contains(peer.Text, "no") {
					t.Errorf("got %v", err)
				}
			}
			<-done
		})
	}
}

// Whoever does not ask as it should is turned away, and Accept goes on.
func TestAcceptTurnsAway(t *testing.T) {
	c, path := control(t)
	accepted := make(chan error, 1)
	go func() {
		s, err := c.Accept()
		if err == nil {
			s.Refuse(errors.New("not now"))
		}
		accepted <- err
	}()
	for _, say := range []string{"noise\n", `{"op":"ready"}` + "\n", `{"op":"takeover","version":2}` + "\n", strings.Repeat("x", 200<<10), ""} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, say)
		if b, err := io.ReadAll(conn); err == nil && !strings.Contains(string(b), `"op":"error"`) {
			t.Errorf("%.20q: got %q", say, b)
		}
		conn.Close()
	}
	p, err := handover.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var peer *handover.PeerError
	if _, _, err := p.Take(); !errors.As(err, &peer) || !strings.Contains(err.Error(), "not now") {
		t.Errorf("got %v", err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	c.Close()
	if _, err := c.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// The old process's mistakes are found as well, and leave nothing open.
func TestNewProcessFindsTheMistakesOfTheOldOne(t *testing.T) {
	for name, say := range map[string]string{
		"a socket without its descriptor": `{"op":"socket","for":"public"}` + "\n",
		"noise":                           "noise\n",
		"a step too far":                  `{"op":"go"}` + "\n",
		"a long line":                     strings.Repeat("x", 200<<10),
		"nothing":                         "",
	} {
		t.Run(name, func(t *testing.T) {
			_, path := control(t)
			path += "2"
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := ln.AcceptUnix()
				if err != nil {
					t.Error(err)
					return
				}
				conn.Read(make([]byte, 1000))
				io.WriteString(conn, say)
				conn.Close()
			}()
			p, err := handover.Dial(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.Take(); err == nil {
				t.Error("no error")
			}
			p.Close()
			<-done
		})
	}
}

func TestPathsOfSocketsHaveALimit(t *testing.T) {
	base := t.TempDir() + "/"
	if len(base) >= handover.MaxPath {
		t.Skip("the folder for tests has a path too long for a socket")
	}
	fits := base + strings.Repeat("s", handover.MaxPath-len(base))
	c, err := handover.Listen(fits)
	if err != nil {
		t.Fatalf("%d bytes: %v", len(fits), err)
	}
	c.Close()
	if _, err := handover.Listen(fits + "s"); !errors.Is(err, handover.ErrLongPath) {
		t.Errorf("%d bytes: %v", len(fits)+1, err)
	}
	if _, err := handover.Dial(fits + "s"); !errors.Is(err, handover.ErrLongPath) || errors.Is(err, handover.ErrNoneRunning) {
		t.Errorf("dial %d bytes: %v", len(fits)+1, err)
	}
}
