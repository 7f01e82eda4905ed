package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"keystay/internal/hint"
	"keystay/remote"
)

// homes are the addresses of the device's own to which visitors come without a relay.
type homes struct {
	device *remote.Device // this and log are set before there is an address
	log    *slog.Logger
	wg     sync.WaitGroup

	mu  sync.Mutex
	all map[string]net.Listener // by what the configuration says
}

// set listens to these addresses and to no others. An error says why one of them cannot be
// had; then all stays as it was. No visitor is cut.
func (h *homes) set(addrs []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := make(map[string]net.Listener)
	for _, a := range addrs {
		if h.all[a] != nil || fresh[a] != nil {
			continue
		}
		ln, err := net.Listen(homeNetwork(a, addrs), a)
		if err != nil {
			for _, ln := range fresh {
				ln.Close()
			}
			return homeError(a, err)
		}
		fresh[a] = ln
	}
	for a, ln := range h.all {
		if !slices.Contains(addrs, a) {
			delete(h.all, a)
			ln.Close()
			h.log.Info("not listening any more", "for", "home", "addr", ln.Addr().String())
		}
	}
	if h.all == nil {
		h.all = make(map[string]net.Listener)
	}
	for a, ln := range fresh {
		h.all[a] = ln
		h.log.Info("listening", "for", "home", "addr", ln.Addr().String())
		h.wg.Go(func() {
			if err := remote.ServeHome(h.device, ln); !errors.Is(err, net.ErrClosed) {
				h.log.Error("visitors come without a relay no more", "addr", ln.Addr().String(), "err", err)
			}
		})
	}
	return nil
}

// close listens to nothing any more.
func (h *homes) close() {
	_ = h.set(nil)
	h.wg.Wait()
}

// homeNetwork is that of one of some addresses to listen on. Package net takes an address
// of all zeros for both families; here 0.0.0.0 is that of IPv4, and [::] that of IPv6
// where 0.0.0.0 is there too.
func homeNetwork(addr string, all []string) string {
	ip, port := unspecified(addr)
	switch {
	case ip.Is4():
		return "tcp4"
	case ip.Is6() && slices.ContainsFunc(all, func(o string) bool {
		i, p := unspecified(o)
		return i.Is4() && p == port
	}):
		return "tcp6"
	}
	return "tcp"
}

// unspecified is the address of all zeros that stands in addr, or the zero Addr.
func unspecified(addr string) (ip netip.Addr, port string) {
	host, port, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return ip, port
	}
	return netip.Addr{}, port
}

func homeError(addr string, err error) error {
	failed := fmt.Errorf("listen on %s: %w", addr, err)
	switch {
	case errors.Is(err, os.ErrPermission):
		return hint.HomeLowPort.Error(failed, "FILE", os.Args[0])
	case errors.Is(err, syscall.EADDRINUSE):
		return hint.HomePortInUse.Error(failed)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint.HomeElsewhere.Error(failed)
	}
	return failed
}

// A homeStatus is what "remote status" shows of visitors who come without a relay.
type homeStatus struct {
	Addresses []string `json:"addresses"`
	Visitors  int      `json:"visitors"` // that have come to them
}

// status is nil where nobody can come without a relay.
func (h *homes) status() *homeStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		return nil
	}
	s := &homeStatus{Visitors: remote.HomeVisitors(h.device)}
	for _, ln := range h.all {
		s.Addresses = append(s.Addresses, ln.Addr().String())
	}
	if len(s.Addresses) == 0 && s.Visitors == 0 {
		return nil
	}
	slices.SortFunc(s.Addresses, cmp.Compare[string])
	return s
}
