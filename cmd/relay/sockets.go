package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
)

// A socket is a listening socket and what it is for.
type socket struct {
	what      string // "public", "http", "admin", "nodes" or "api"
	addr      string // as it stands in the configuration
	activated bool   // the service manager opened it
	ln        net.Listener
}

func closeAll(sockets []socket) {
	for _, s := range sockets {
		s.ln.Close()
	}
}

// configured returns the sockets of the configuration, not opened.
func configured(cfg *config.Relay) (list []socket) {
	for _, a := range cfg.Listen {
		list = append(list, socket{what: "public", addr: a})
	}
	for _, a := range cfg.HTTPListen {
		list = append(list, socket{what: "http", addr: a})
	}
	if cfg.Admin.Listen != "" {
		list = append(list, socket{what: "admin", addr: cfg.Admin.Listen})
	}
	if cfg.Cluster.On() {
		list = append(list, socket{what: nodeSocket, addr: cfg.Cluster.Listen})
	}
	return list
}

// listen returns the sockets of the configuration. Those that were handed
// over, by the old process or the service manager, are taken; the rest is opened,
// and what was handed over and is not wanted any more is closed. Where the service
// manager hands over sockets for something, these are all that there are for it.
func listen(cfg *config.Relay, handed []socket, log *slog.Logger) (sockets []socket, err error) {
	handed = slices.Clone(handed)
	defer func() {
		closeAll(handed) // those that are left
		if err != nil {
			closeAll(sockets)
		}
	}()
	for i := 0; i < len(handed); i++ {
		if handed[i].activated {
			sockets = append(sockets, handed[i])
			handed = slices.Delete(handed, i, i+1)
			i--
		}
	}
	ready := slices.Clone(sockets)
	for _, want := range configured(cfg) {
		if slices.ContainsFunc(ready, func(s socket) bool { return s.what == want.what }) {
			continue
		}
		i := slices.IndexFunc(handed, func(s socket) bool { return s.what == want.what && s.addr == want.addr })
		if i >= 0 {
			sockets = append(sockets, handed[i])
			handed = slices.Delete(handed, i, i+1)
			continue
		}
		if want.ln, err = net.Listen(network(want.addr, cfg), want.addr); err != nil {
			return sockets, listenError(want.what, want.addr, err)
		}
		sockets = append(sockets, want)
	}
	for _, s := range sockets {
		log.Info("listening", "for", s.what, "addr", s.ln.Addr().String())
	}
	return sockets, nil
}

// network is that of an address to listen on. Package net takes an address of all zeros
// for both families; here 0.0.0.0 is that of IPv4, and [::] that of IPv6 where something
// else has the port for IPv4, so that both can be written.
func network(addr string, cfg *config.Relay) string {
	host, port, err := net.SplitHostPort(addr)
	ip, notIP := netip.ParseAddr(host)
	switch {
	case err != nil || notIP != nil || !ip.IsUnspecified():
		return "tcp"
	case ip.Is4():
		return "tcp4"
	}
	for _, other := range configured(cfg) {
		h, p, err := net.SplitHostPort(other.addr)
		if ip, notIP := netip.ParseAddr(h); err == nil && notIP == nil && p == port && ip.Is4() {
			return "tcp6"
		}
	}
	return "tcp"
}

// activated returns the sockets that systemd has opened (sd_listen_fds(3)):
// what each is for says its name, FileDescriptorName in the unit, or the port of
// the configuration that it has.
func activated(cfg *config.Relay) (sockets []socket, err error) {
	for _, f := range activation.Files(true) {
		ln, lerr := net.FileListener(f)
		f.Close()
		if lerr != nil {
			err = errors.Join(err, fmt.Errorf("take the socket %q from systemd: %w", f.Name(), lerr))
			continue
		}
		what := f.Name()
		if !slices.Contains([]string{"public", "http", "admin", nodeSocket}, what) {
			what = purpose(cfg, ln.Addr())
		}
		if what == "" {
			err = errors.Join(err, cli.Usage(hint.SocketUnknown.Error(
				fmt.Errorf("systemd has opened %v, and nothing in the configuration has that port", ln.Addr()))))
		}
		sockets = append(sockets, socket{what: what, addr: ln.Addr().String(), activated: true, ln: ln})
	}
	if err != nil {
		closeAll(sockets)
		return nil, err
	}
	return sockets, nil
}

// purpose finds out from the port what an address is for.
func purpose(cfg *config.Relay, addr net.Addr) string {
	_, port, _ := net.SplitHostPort(addr.String())
	for _, s := range configured(cfg) {
		if _, p, err := net.SplitHostPort(s.addr); err == nil && p == port {
			return s.what
		}
	}
	return ""
}

// key is where the addresses of such a socket are configured.
func key(what string) string {
	switch what {
	case "http":
		return "http_listen"
	case "admin":
		return "admin.listen"
	case nodeSocket:
		return "cluster.listen"
	}
	return "listen"
}

func listenError(what, addr string, err error) error {
	failed := fmt.Errorf("listen for %s on %s: %w", what, addr, err)
	switch {
	case errors.Is(err, os.ErrPermission):
		return hint.LowPort.Error(failed)
	case isInUse(err):
		return hint.PortInUse.Error(failed, "KEY", key(what))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint.AddressElsewhere.Error(failed, "KEY", key(what))
	case errors.As(err, new(*net.DNSError)):
		return hint.AddressNoName.Error(failed, "KEY", key(what))
	}
	return failed
}
