package main

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"keystay/config"
	"keystay/internal/hint"
)

func open(t *testing.T, what, addr string, activated bool) socket {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return socket{what: what, addr: addr, activated: activated, ln: ln}
}

func isOpen(s socket) bool {
	c, err := net.Dial("tcp", s.ln.Addr().String())
	if err == nil {
		c.Close()
	}
	return err == nil
}

// Sockets that are given are taken for what the configuration still has.
func TestListenTakesWhatIsGiven(t *testing.T) {
	cfg := &config.Relay{
		Listen:     []string{"127.0.0.1:0", "127.0.0.1:0", "localhost:0"},
		HTTPListen: []string{},
		Admin:      config.Admin{Listen: "127.0.0.1:0"},
	}
	first, second := open(t, "public", "127.0.0.1:0", false), open(t, "public", "127.0.0.1:0", false)
	gone, http := open(t, "public", "127.0.0.1:7", false), open(t, "http", "127.0.0.1:0", false)
	got, err := listen(cfg, []socket{gone, first, http, second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(got)
	var what []string
	for _, s := range got {
		what = append(what, s.what)
	}
	if !slices.Equal(what, []string{"public", "public", "public", "admin"}) || got[0].ln != first.ln || got[1].ln != second.ln {
		t.Errorf("got %v", what)
	}
	if isOpen(gone) || isOpen(http) {
		t.Error("what is not configured any more is still open")
	}
}

// Those of the service manager are all that there are for their purpose.
func TestListenTakesActivated(t *testing.T) {
	cfg := &config.Relay{Listen: []string{"127.0.0.1:1", "127.0.0.1:2"}, Admin: config.Admin{Listen: "127.0.0.1:0"}}
	given := []socket{open(t, "public", "x", true), open(t, "http", "y", true)}
	got, err := listen(cfg, given, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(got)
	if len(got) != 3 || got[0].ln != given[0].ln || got[1].ln != given[1].ln || got[2].what != "admin" {
		t.Errorf("got %+v", got)
	}
}

// When one cannot be opened, none stays open.
func TestFailedListenLeavesNothingOpen(t *testing.T) {
	used := open(t, "", "", false)
	given := open(t, "public", "127.0.0.1:0", false)
	cfg := &config.Relay{Listen: []string{"127.0.0.1:0", used.ln.Addr().String()}}
	_, err := listen(cfg, []socket{given}, slog.New(slog.DiscardHandler))
	var op *net.OpError
	if !errors.As(err, &op) || isOpen(given) {
		t.Errorf("got %v, and the socket is open: %v", err, isOpen(given))
	}
}

func TestInheritedSocketIsKnownByItsPort(t *testing.T) {
	cfg := &config.Relay{Listen: []string{":443", ":8443"}, HTTPListen: []string{"192.0.2.1:80"}}
	for addr, want := range map[string]string{"[::]:443": "public", "0.0.0.0:8443": "public", "[::1]:80": "http", "[::]:22": ""} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := purpose(cfg, a); got != want {
			t.Errorf("%s: %q", addr, got)
		}
	}
}

// A port that is in use is told with the key that names it, also where nobody
// has set that key.
func TestPortInUseNamesItsKey(t *testing.T) {
	for what, key := range map[string]string{"public": "listen", "http": "http_listen", "admin": "admin.listen"} {
		err := listenError(what, "127.0.0.1:9440", syscall.EADDRINUSE)
		if h := hint.All(err); len(h) != 1 || !strings.HasSuffix(h[0], "choose another address for "+key) {
			t.Errorf("%s: hints %q", what, h)
		}
	}
}

// A host to listen on that has no address is told with its key, too.
func TestHostWithoutAnAddressNamesItsKey(t *testing.T) {
	err := listenError("admin", "nosuch.invalid:9440", &net.OpError{Op: "listen", Err: &net.DNSError{Err: "no such host", Name: "nosuch.invalid", IsNotFound: true}})
	if h := hint.All(err); len(h) != 1 || !strings.Contains(h[0], "admin.listen") {
		t.Errorf("hints %q", h)
	}
}

// The addresses of both families can stand beside each other, and each alone is what it
// says; that of IPv6 alone is for both, as without a host.
func TestAddressesOfBothFamilies(t *testing.T) {
	cfg := func(listen ...string) *config.Relay {
		return &config.Relay{Listen: listen, HTTPListen: []string{"0.0.0.0:80"}}
	}
	for _, c := range []struct {
		addr, want string
		cfg        *config.Relay
	}{
		{":443", "tcp", cfg(":443")},
		{"0.0.0.0:443", "tcp4", cfg("0.0.0.0:443")},
		{"0.0.0.0:443", "tcp4", cfg("0.0.0.0:443", "[::]:443")},
		{"[::]:443", "tcp6", cfg("0.0.0.0:443", "[::]:443")},
		{"[::]:443", "tcp6", cfg("192.0.2.1:443", "[::]:443")},
		{"[::]:443", "tcp", cfg("0.0.0.0:8443", "[::]:443")},
		{"[::1]:443", "tcp", cfg("0.0.0.0:443", "[::1]:443")},
		{"127.0.0.1:443", "tcp", cfg("127.0.0.1:443")},
	} {
		if got := network(c.addr, c.cfg); got != c.want {
			t.Errorf("%s of %v: %s, want %s", c.addr, c.cfg.Listen, got, c.want)
		}
	}
}
