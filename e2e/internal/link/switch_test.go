//go:build linux

package link

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Each port of a switch reaches each other one, until a way is cut; where only one way is,
// what is sent the other way still arrives.
func TestSwitchCutsOneWay(t *testing.T) {
	var w Switch
	var spaces []*Space
	for i := range 3 {
		s := newSpace(t)
		if _, err := w.Join(s, netip.MustParseAddr(fmt.Sprintf("10.79.0.%d", i+1))); err != nil {
			t.Skip("the kernel gives no TUN device, which the switch is made of: ", err)
		}
		spaces = append(spaces, s)
	}
	w.Run()
	t.Cleanup(w.Close)
	hear := func(at int) *net.UDPConn {
		var c *net.UDPConn
		err := spaces[at].Do(func() (err error) {
			c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 79, 0, byte(at+1)), Port: 7})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ears := []*net.UDPConn{hear(0), hear(1), hear(2)}
	tell := func(from, to int, word string) {
		t.Helper()
		if _, err := ears[from].WriteTo([]byte(word), &net.UDPAddr{IP: net.IPv4(10, 79, 0, byte(to+1)), Port: 7}); err != nil {
			t.Fatal(err)
		}
	}
	// hears is the next word at a port, which is the one that was sent last there: what is
	// cut would have come before it.
	hears := func(at int, want string) {
		t.Helper()
		b := make([]byte, 100)
		ears[at].SetReadDeadline(time.Now().Add(time.Minute))
		n, from, err := ears[at].ReadFrom(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("port %d hears %q from %v, %v, want %q", at, b[:n], from, err, want)
		}
	}
	tell(0, 1, "a")
	hears(1, "a")
	if w.Bytes(0, 1) == 0 || w.Bytes(1, 0) != 0 {
		t.Errorf("%d bytes went there, and %d back", w.Bytes(0, 1), w.Bytes(1, 0))
	}
	w.Cut(0, 1, true)
	tell(0, 1, "lost")
	tell(0, 2, "b")
	hears(2, "b")
	tell(1, 0, "c")
	hears(0, "c")
	tell(2, 1, "d")
	hears(1, "d")
	w.Heal()
	tell(0, 1, "e")
	hears(1, "e")
}

// TCP goes on where it was when a network heals.
func TestConnectionsOutliveACut(t *testing.T) {
	var w Switch
	a, b := newSpace(t), newSpace(t)
	for i, s := range []*Space{a, b} {
		if _, err := w.Join(s, netip.MustParseAddr(fmt.Sprintf("10.79.0.%d", i+1))); err != nil {
			t.Skip("the kernel gives no TUN device, which the switch is made of: ", err)
		}
	}
	w.Run()
	t.Cleanup(w.Close)
	var ln net.Listener
	if err := b.Do(func() (err error) { ln, err = net.Listen("tcp", "10.79.0.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := a.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.Cut(0, 1, true)
	w.Cut(1, 0, true)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	w.Heal()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Error(err)
	}
}
