//go:build linux

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// MostPorts is how many namespaces a switch can join.
const MostPorts = 32

// A Switch joins namespaces to one network and carries each packet between them. It
// can be told to drop all that one of them sends to another, as a network does in
// which a way is cut: without a word to either. The zero value is ready; its methods may
// be called from several goroutines, but for Join, which comes before them.
type Switch struct {
	ports []*port
	wg    sync.WaitGroup
	cut   [MostPorts][MostPorts]atomic.Bool
	bytes [MostPorts][MostPorts]atomic.Int64
}

// A port is where one namespace is joined.
type port struct {
	address netip.Addr
	device  *os.File
}

// Join joins a namespace, which gets the address, of a net of 24 bits that is the same
// for all, and returns the number of its port. Packets between the ports are carried until
// Close.
func (w *Switch) Join(s *Space, address netip.Addr) (n int, err error) {
	n = len(w.ports)
	if n == MostPorts {
		return 0, fmt.Errorf("a switch joins at most %d namespaces", MostPorts)
	}
	device, err := newTUN(s, "switch", address, unix.O_NONBLOCK)
	if err != nil {
		return 0, err
	}
	w.ports = append(w.ports, &port{address, device})
	return n, nil
}

// Run begins to carry packets, once all are joined.
func (w *Switch) Run() {
	for from := range w.ports {
		w.wg.Go(func() { w.carry(from) })
	}
}

// Cut drops what one port sends to another from now on, or no longer does.
func (w *Switch) Cut(from, to int, cut bool) { w.cut[from][to].Store(cut) }

// Heal drops nothing any more.
func (w *Switch) Heal() {
	for from := range w.ports {
		for to := range w.ports {
			w.Cut(from, to, false)
		}
	}
}

// Bytes is how much was carried from one port to another so far, of whole packets.
func (w *Switch) Bytes(from, to int) int64 { return w.bytes[from][to].Load() }

// Close ends the network.
func (w *Switch) Close() {
	for _, p := range w.ports {
		p.device.Close()
	}
	w.wg.Wait()
}

// carry takes what a port sends until its device is closed.
func (w *Switch) carry(from int) {
	b := make([]byte, mtu)
	for {
		n, err := w.ports[from].device.Read(b)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // a device that is not up yet, or a packet that is too long
		}
		to, ok := w.destination(b[:n])
		if !ok || w.cut[from][to].Load() {
			continue
		}
		w.bytes[from][to].Add(int64(n)) // before the other end has it, and may ask
		if _, err := w.ports[to].device.Write(b[:n]); err != nil {
			w.bytes[from][to].Add(int64(-n))
		}
	}
}

// destination is the port that an IPv4 packet is for.
func (w *Switch) destination(packet []byte) (to int, ok bool) {
	const version4, least, at = 4, 20, 16
	if len(packet) < least || packet[0]>>4 != version4 {
		return 0, false
	}
	for to, p := range w.ports {
		if p.address.As4() == [4]byte(packet[at:least]) {
			return to, true
		}
	}
	return 0, false
}
