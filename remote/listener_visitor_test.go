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

func full(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}
