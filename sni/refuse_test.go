package sni_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/sni"
)

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

var wantAlert = []byte{21, 3, 3, 0, 2, 2, 112}

func TestRefusalArrivesWhateverIsUnread(t *testing.T) {
	for _, unread := range []int{0, 1, 10_000, sni.MaxDrain} {
		ours, theirs := tcpPair(t)
		if _, err := theirs.Write(make([]byte, unread)); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			sni.Refuse(ours, sni.AlertUnrecognizedName)
		}()
		got, err := io.ReadAll(theirs)
		if err != nil || !bytes.Equal(got, wantAlert) {
			t.Errorf("with %d bytes unread: % x, %v", unread, got, err)
		}
		theirs.Close()
		<-done
		if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("not closed: %v", err)
		}
	}
}

func TestRefuseIsUnderstood(t *testing.T) {
	for _, c := range []struct {
		alert sni.Alert
		want  string
	}{
		{sni.AlertUnrecognizedName, "unrecognized name"},
		{sni.AlertInternalError, "internal error"},
		{sni.AlertDecodeError, "error decoding message"},
	} {
		ours, theirs := tcpPair(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := sni.Read(ours, nil); err != nil {
				t.Error(err)
			}
			sni.Refuse(ours, c.alert)
		}()
		err := tls.Client(theirs, &tls.Config{ServerName: "a.test"}).Handshake()
		if alert := tls.AlertError(0); !errors.As(err, &alert) && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: the client says %v", c.alert, err)
		}
		theirs.Close()
		<-done
	}
}

func TestAlertsHaveNames(t *testing.T) {
	for a, want := range map[sni.Alert]string{
		sni.AlertUnrecognizedName: "unrecognized_name",
		sni.AlertInternalError:    "internal_error",
		sni.AlertDecodeError:      "decode_error",
		42:                        "alert(42)",
	} {
		if a.String() != want {
			t.Errorf("%d: %s", uint8(a), a)
		}
	}
}

// A halfPipe is an end of a net.Pipe whose writing side can be closed, as far
// as anyone looks, and which counts what is read from it.
type halfPipe struct {
	net.Conn
	read   int
	halves int
}

func (c *halfPipe) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read += n
	return n, err
}

func (c *halfPipe) CloseWrite() error { c.halves++; return nil }

func TestRefuseIsBounded(t *testing.T) { synctest.Test(t, refuseIsBounded) }

func refuseIsBounded(t *testing.T) {
	for _, c := range []struct {
		what string
		peer func(net.Conn)
		took time.Duration
		read int
	}{
		{"a peer that does not read", func(net.Conn) {}, sni.RefuseTimeout, 0},
		{"a peer that does not close", func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 7)) }, sni.RefuseTimeout, 0},
		{"a peer that sends slowly", func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 7))
			for err := error(nil); err == nil; _, err = c.Write([]byte{0}) {
				time.Sleep(300 * time.Millisecond)
			}
		}, sni.RefuseTimeout, 3},
		{"a peer that floods", func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 7))
			for err := error(nil); err == nil; _, err = c.Write(make([]byte, 1000)) {
			}
		}, 0, sni.MaxDrain},
	} {
		func() {
			ours, theirs := net.Pipe()
			var peer sync.WaitGroup
			peer.Go(func() { c.peer(theirs) })
			defer peer.Wait()
			defer theirs.Close()
			conn := &halfPipe{Conn: ours}
			start := time.Now()
			sni.Refuse(conn, sni.AlertInternalError)
			if took := time.Since(start); took != c.took {
				t.Errorf("%s: took %v, want %v", c.what, took, c.took)
			}
			if c.what != "a peer that does not read" && conn.halves != 1 {
				t.Errorf("%s: CloseWrite called %d times", c.what, conn.halves)
			}
			if conn.read != c.read {
				t.Errorf("%s: read %d bytes, want %d", c.what, conn.read, c.read)
			}
			if _, err := ours.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: not closed: %v", c.what, err)
			}
		}()
	}
}
