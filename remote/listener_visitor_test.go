package remote_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// A visitor whose handshake a shutdown has cut sees a reset: its own side of the
// handshake may be over, and an end in good order would be an empty answer.
func TestShutdownCutsHandshakes(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	s := r.next().open(domain, framing.KindTLS)
	if _, err := s.Write([]byte{22, 3, 1, 1, 0}); err != nil { // a ClientHello that does not come
		t.Fatal(err)
	}
	remote.EndLate(ln) // as a shutdown does, which then ends the link too
	if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor sees %v, want a reset", err)
	}
}

// Beyond its limit a listener refuses new visitors. Those who are there stay,
// and when one of them leaves there is room again.
func TestVisitorsAreBounded(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.MaxVisitors = 2
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ln := r.listen(cfg)
	link := r.next()
	accept := func() net.Conn {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	visit := func() (*tls.Conn, net.Conn) {
		made := make(chan net.Conn)
		go func() { made <- accept() }()
		return link.visitor("http/1.1"), <-made
	}
	first, atService := visit()
	second, other := visit()
	for range 3 {
		s := link.open(domain, framing.KindTLS)
		s.Write([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0})
		if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("one too many sees %v, want a reset", err)
		}
	}
	for v, served := range map[*tls.Conn]net.Conn{first: atService, second: other} {
		io.WriteString(v, "still here")
		if b := make([]byte, 10); !full(served, b) || string(b) != "still here" {
			t.Errorf("a visitor who was there: %q", b)
		}
	}
	second.Close()
	other.Close()
	for ln.Visitors() > 1 {
		runtime.Gosched()
	}
	third, _ := visit()
	third.Close()
	end(ln)
	if n := strings.Count(log.String(), "too many visitors"); n != 1 {
		t.Errorf("the log says it %d times, want once: %s", n, &log)
	}
}

// A visitor has one of the places of its network from its hello to the end of its
// connection, whatever becomes of it. Beyond its share the network gets no more.
func TestVisitorsShareThePlacesByNetwork(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.MaxVisitors = 5
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ln := r.listen(cfg)
	link := r.next()
	served := make(chan net.Conn, 8)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served <- c
		}
	}()
	awaitTaken := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(patience); remote.VisitorsPlaced(ln) != n; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d places are taken, want %d", remote.VisitorsPlaced(ln), n)
			}
		}
	}
	var all []net.Conn
	for range 4 { // which a network always may have
		all = append(all, link.visitor("http/1.1"), <-served)
	}
	awaitTaken(4)
	for range 2 {
		s := link.open(domain, framing.KindTLS)
		if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("one too many of its network sees %v, want a reset", err)
		}
	}
	for _, c := range all {
		c.Close()
	}
	awaitTaken(0)
	broken := link.open(domain, framing.KindTLS)
	io.WriteString(broken, "no TLS at all")
	io.ReadAll(broken)
	awaitTaken(0)
	end(ln)
	if n := strings.Count(log.String(), "from one network"); n != 1 {
		t.Errorf("the log says it %d times, want once: %s", n, &log)
	}
}

func full(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}
