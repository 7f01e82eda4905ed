//go:build linux

package link

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TCP between two namespaces has the delay of the link, and nothing arrives when
// all is lost.
func TestLinkDelaysAndLoses(t *testing.T) {
	a, b := newSpace(t), newSpace(t)
	left, right := netip.MustParseAddr("10.78.0.1"), netip.MustParseAddr("10.78.0.2")
	setup := Setup{Delay: 10 * time.Millisecond, Rate: 100_000_000, Queue: 1 << 20}
	c, err := Connect(a, b, "test0", left, right, setup)
	if err != nil {
		t.Skip("the kernel gives no TUN device, which the link is made of: ", err)
	}
	defer c.Close()
	commands, tell := io.Pipe()
	ended := make(chan error)
	devices := []int{int(c.Files()[0].Fd()), int(c.Files()[1].Fd())}
	go func() { ended <- Run([]Setup{setup}, devices, commands) }()

	var ln net.Listener
	if err := b.Do(func() (err error) { ln, err = net.Listen("tcp", right.String()+":0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	if c, err := net.DialTimeout("tcp", ln.Addr().String(), 100*time.Millisecond); err == nil {
		c.Close()
		t.Error("the link can be reached from outside")
	}
	conn, err := a.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := func() error {
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, "hello"); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 5))
		return err
	}
	start := time.Now()
	for range 5 {
		if err := echo(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 5*2*setup.Delay {
		t.Errorf("5 round trips took %v", took)
	}
	io.WriteString(tell, "100\n0.5\n100\n")
	conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	io.WriteString(conn, "hello")
	if n, err := conn.Read(make([]byte, 5)); err == nil {
		t.Errorf("%d bytes arrived over a link that loses all", n)
	}
	tell.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func newSpace(t *testing.T) *Space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	s, err := NewSpace()
	if err != nil {
		t.Skip("the kernel gives no network namespace, and the link joins two: ", err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestWrongCommandIsRefused(t *testing.T) {
	for _, line := range []string{"a lot", "-1", "101"} {
		if err := Run(nil, nil, strings.NewReader(line+"\n")); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}
