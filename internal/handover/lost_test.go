//go:build linux

package handover_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"keystay/internal/handover"
	"keystay/internal/testnet"
)

// takenOver returns the two sides of a takeover that is done.
func takenOver(t *testing.T) (*handover.Old, *handover.New) {
	t.Helper()
	c, path := control(t)
	old := make(chan *handover.Old, 1)
	go func() {
		s, err := c.Accept()
		if err == nil {
			err = s.Offer(t.Context(), nil, nil)
		}
		if err != nil {
			t.Error(err)
		}
		old <- s
	}()
	p, err := handover.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if _, _, err := p.Take(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Ready(), p.Serving()); err != nil {
		t.Fatal(err)
	}
	s := <-old
	t.Cleanup(func() { s.Close() })
	return s, p
}

// visit has a visitor come, and passes it on with first.
func visit(t *testing.T, s *handover.Old, first string) net.Conn {
	t.Helper()
	c, v := testnet.TCPPair(t)
	pass(t, s, v, first)
	return c
}

// pass passes a visitor on, and has the old process forget it.
func pass(t *testing.T, s *handover.Old, v net.Conn, first string) {
	t.Helper()
	if err := s.Pass(v, []byte(first)); err != nil {
		t.Fatal(err)
	}
	v.Close()
}

// withoutDescriptors runs f while this process may open no file.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	free, err := os.Open(os.DevNull) // which gets the lowest that is free
	if err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = uint64(free.Fd())
	free.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	f()
}

// A visitor for which the new process has no descriptor is lost, and no other: those that
// follow come, each with its own bytes.
func TestVisitorWithoutADescriptorIsLostAlone(t *testing.T) {
	s, p := takenOver(t)
	lost := visit(t, s, "lost")
	kept := visit(t, s, "kept")
	withoutDescriptors(t, func() {
		if _, _, err := p.Visitor(); !errors.Is(err, handover.ErrLost) {
			t.Errorf("without a descriptor: %v", err)
		}
	})
	c, first, err := p.Visitor()
	if err != nil || string(first) != "kept" {
		t.Fatalf("the next one: %q, %v", first, err)
	}
	defer c.Close()
	io.WriteString(kept, "ping")
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Errorf("%q, %v", b, err)
	}
	if n, err := lost.Read(b); err == nil {
		t.Errorf("the one that is lost reads %q", b[:n])
	}
}

// A visitor that has reset its connection on its way has no address any more, and is none.
func TestVisitorThatHasGoneIsPassedOver(t *testing.T) {
	s, p := takenOver(t)
	gone, v := testnet.TCPPair(t)
	gone.SetLinger(0)
	gone.Close()
	if _, err := v.Read(make([]byte, 1)); err == nil { // until the reset has come
		t.Fatal("no reset")
	}
	pass(t, s, v, "gone")
	visit(t, s, "here")
	c, first, err := p.Visitor()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if string(first) != "here" || c.RemoteAddr() == nil {
		t.Errorf("%q from %v", first, c.RemoteAddr())
	}
}
