package memconn_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/memconn"
)

var _ net.Listener = (*memconn.Listener)(nil)

func TestListenerPassesConnectionsOn(t *testing.T) {
	ln := memconn.Listen(nil)
	c, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr() != ln.Addr() || s.RemoteAddr() != c.LocalAddr() {
		t.Errorf("addresses: %v, %v, %v", c.RemoteAddr(), s.RemoteAddr(), c.LocalAddr())
	}
	visitor := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 1234}
	waiting, err := ln.DialFrom(t.Context(), visitor)
	if err != nil || waiting.LocalAddr() != visitor {
		t.Fatal(waiting, err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}

	write(t, c, "still here")
	c.Close()
	readAll(t, s, "still here")
	s.Close()
	_, err = waiting.Read(make([]byte, 1))
	fails(t, "read on a connection that was not accepted", err, syscall.ECONNRESET)
	waiting.Close()

	_, err = ln.Dial(t.Context())
	fails(t, "dial after Close", err, syscall.ECONNREFUSED)
	_, err = ln.Accept()
	fails(t, "accept after Close", err, net.ErrClosed)
	fails(t, "second Close", ln.Close(), net.ErrClosed)
}

func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := memconn.Listen(nil)
		for range memconn.Backlog {
			if _, err := ln.Dial(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := ln.Dial(ctx)
		fails(t, "dial into a full backlog", err, context.DeadlineExceeded)

		time.AfterFunc(time.Second, func() { ln.Accept() })
		if _, err := ln.Dial(t.Context()); err != nil {
			t.Errorf("dial while one is accepted: %v", err)
		}
		time.AfterFunc(time.Second, func() { ln.Close() })
		_, err = ln.Dial(t.Context())
		fails(t, "dial while the listener closes", err, syscall.ECONNREFUSED)
	})
}

func ExampleListen() {
	ln := memconn.Listen(nil)
	defer ln.Close()
	client, _ := ln.Dial(context.Background())
	server, _ := ln.Accept()
	client.Write([]byte("hello"))
	client.CloseWrite()
	got, _ := io.ReadAll(server)
	fmt.Printf("%s from %v\n", got, server.RemoteAddr())
	// Output: hello from 192.0.2.1:49152
}
