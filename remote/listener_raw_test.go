package remote_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// rawListen starts a remote that leaves TLS to the test, and returns it with the
// relay's end of its link.
func rawListen(t *testing.T) (*fakeRelay, *remote.Listener, *relayLink, string) {
	t.Helper()
	r := newRelay(t)
	cfg := r.config()
	cfg.TLS, cfg.Raw = nil, true
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	return r, ln, r.next(), cfg.StateDir
}

// accept returns the next connection, which is a stream.
func accept(t *testing.T, ln *remote.Listener) *framing.Stream {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := c.(*framing.Stream)
	if !ok {
		t.Fatalf("accepted a %T", c)
	}
	s.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { s.Close() })
	return s
}

// A raw listener gives the visitor's bytes as they came, with the address and
// the name, and orders no certificate.
func TestRawListenerLeavesTLSToTheCaller(t *testing.T) {
	r, ln, link, dir := rawListen(t)
	done := make(chan error, 1)
	go func() {
		c := tls.Client(link.open(domain, framing.KindTLS), &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain})
		if _, err := io.WriteString(c, "hello"); err != nil {
			done <- err
			return
		}
		c.CloseWrite()
		b, err := io.ReadAll(c)
		if string(b) != "HELLO" && err == nil {
			err = errors.New(string(b))
		}
		done <- err
	}()
	s := accept(t, ln)
	if s.RemoteAddr().String() != visitorAddr.String() || s.Header().Name != domain {
		t.Errorf("%v visits %s", s.RemoteAddr(), s.Header().Name)
	}
	tc := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(domain)}})
	b, err := io.ReadAll(tc)
	if err != nil {
		t.Error(err)
	}
	tc.Write(bytes.ToUpper(b))
	tc.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "acme")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a folder for certificates: %v", err)
	}
}

// Half-closes and resets go through a raw listener in both directions.
func TestRawListenerKeepsEnds(t *testing.T) {
	_, ln, link, _ := rawListen(t)
	visitor := link.open(domain, framing.KindTLS)
	visitor.Write([]byte{0x16, 3, 1})
	visitor.CloseWrite()
	s := accept(t, ln)
	if b, err := io.ReadAll(s); !bytes.Equal(b, []byte{0x16, 3, 1}) || err != nil {
		t.Errorf("got %x, %v", b, err)
	}
	s.Write([]byte("after the end"))
	s.CloseWrite()
	if b, err := io.ReadAll(visitor); string(b) != "after the end" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}

	visitor = link.open(domain, framing.KindTLS)
	visitor.Write([]byte{0x16})
	s = accept(t, ln)
	s.Reset()
	if _, err := io.ReadAll(visitor); err == nil {
		t.Error("a reset looks like an end")
	}
	visitor = link.open(domain, framing.KindTLS)
	visitor.Write([]byte{0x16})
	s = accept(t, ln)
	visitor.Reset()
	if _, err := io.ReadAll(s); err == nil {
		t.Error("a visitor's reset looks like an end")
	}
	if _, err := io.ReadAll(link.open(domain, framing.KindHTTP01)); err == nil {
		t.Error("HTTP-01 is not refused")
	}
}
