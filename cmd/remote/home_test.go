package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"keystay/internal/hint"
	"keystay/remote"
)

// A reload opens and closes the device's own addresses, and one that cannot be had leaves
// all as it was.
func TestAddressesOfTheDeviceChangeAtAReload(t *testing.T) {
	device, err := remote.Open(remote.DeviceConfig{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	var log bytes.Buffer
	h := homes{device: device, log: slog.New(slog.NewTextHandler(&log, nil))}
	if h.status() != nil {
		t.Error("there is a status of nothing")
	}
	if err := h.set([]string{"127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	first := h.status().Addresses
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = h.set([]string{"[::1]:0", taken.Addr().String()})
	if !errors.Is(err, syscall.EADDRINUSE) || !slices.Equal(hint.All(err), hint.HomePortInUse.Do) || !slices.Equal(h.status().Addresses, first) {
		t.Errorf("%v, %q, %v", err, hint.All(err), h.status())
	}
	if err := h.set([]string{"127.0.0.1:0", "localhost:0"}); err != nil {
		t.Fatal(err)
	}
	if both := h.status().Addresses; len(both) != 2 || !slices.Contains(both, first[0]) {
		t.Errorf("%q after %q", both, first)
	}
	h.close()
	if c, err := net.Dial("tcp", first[0]); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	if n := strings.Count(log.String(), "for=home"); n != 4 {
		t.Errorf("%d lines: %s", n, &log)
	}
}

// 0.0.0.0 is IPv4 alone, and [::] leaves it to that where both are there.
func TestBothFamiliesCanBeWritten(t *testing.T) {
	for addr, want := range map[string]string{":443": "tcp", "0.0.0.0:443": "tcp4", "[::]:443": "tcp6", "[::]:8443": "tcp", "192.0.2.1:443": "tcp"} {
		if got := homeNetwork(addr, []string{"0.0.0.0:443", addr}); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
	for err, a := range map[error]*hint.Advice{os.ErrPermission: hint.HomeLowPort, syscall.EADDRNOTAVAIL: hint.HomeElsewhere} {
		if got := hint.All(homeError(":443", err)); len(got) != len(a.Do) || got[len(got)-1] != a.Do[len(a.Do)-1] {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// Addresses that everybody can have are for public DNS, private ones for one's own, and
// those that pass for none.
func TestRecordsLeadStraightToTheDevice(t *testing.T) {
	interfaces := []netip.Addr{netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("2a00:1450::20"), netip.MustParseAddr("fd00::20")}
	has := interfaces[1:2]
	for _, c := range []struct {
		listen []string
		want   string
	}{
		{nil, ""},
		{[]string{":443"}, "lan A 192.168.1.20, home AAAA 2a00:1450::20 there, lan AAAA fd00::20"},
		{[]string{"0.0.0.0:443"}, "lan A 192.168.1.20"},
		{[]string{"192.168.1.20:443", "[::]:443"}, "lan A 192.168.1.20, home AAAA 2a00:1450::20 there, lan AAAA fd00::20"},
		{[]string{"[fd00::20]:443", "127.0.0.1:443"}, "lan AAAA fd00::20"},
	} {
		var got []string
		for _, r := range homeRecords("app.example.com", c.listen, interfaces, has) {
			line := r.For + " " + r.Type + " " + r.Value
			if r.There {
				line += " there"
			}
			got = append(got, line)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%q: %q", c.listen, got)
		}
	}
	file := filepath.Join(t.TempDir(), "if_inet6")
	text := "fe800000000000000000000000000001 02 40 20 80     eth0\n" +
		"2a001450000000000000000000000020 02 40 00 00     eth0\n" +
		"2a001450000000000000000000000021 02 40 00 01     eth0\nnonsense\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := passingAddresses(file); len(got) != 1 || got[0] != netip.MustParseAddr("2a00:1450::21") {
		t.Errorf("%v pass", got)
	}
}

// A domain that leads to the relay and to the device is whole, and one that leads to the
// device alone is not; of a relay's own name only the network's own records are shown.
func TestDNSShowsTheRecordsOfTheDevicesOwnAddresses(t *testing.T) {
	own := netip.MustParseAddr("2a00:1450::20")
	look := func(domain string, has ...string) *look {
		l := &look{at: map[string][]netip.Addr{"relay.test": {netip.MustParseAddr("192.0.2.1")}}, own: []netip.Addr{own},
			records: records{Domain: domain, Relays: []string{"relay.test"}, homePort: "8443"}}
		for _, a := range has {
			l.has = append(l.has, netip.MustParseAddr(a))
		}
		l.Records = homeRecords(domain, []string{":443"}, []netip.Addr{own, netip.MustParseAddr("10.0.0.2")}, l.has)
		l.visitors()
		return l
	}
	if l := look("app.example.test", "192.0.2.1", own.String()); !l.Reached || len(l.Notes) > 0 {
		t.Errorf("both: %v, %q", l.Reached, l.Notes)
	}
	if l := look("app.example.test", own.String()); l.Reached {
		t.Error("the device alone counts as reached by all")
	}
	if l := look("app.example.test", "192.0.2.1", "2a00:1450::99"); l.Reached || len(l.Notes) != 1 {
		t.Errorf("another device: %v, %q", l.Reached, l.Notes)
	}
	var b bytes.Buffer
	look("app.example.test", "192.0.2.1").writeHome(&b)
	if s := b.String(); !strings.Contains(s, "-  app.example.test  A  10.0.0.2") || !strings.Contains(s, "-  app.example.test  AAAA  2a00:1450::20") || !strings.Contains(s, "forward it to 8443") {
		t.Errorf("%s", s)
	}
	b.Reset()
	look("xyz.relay.test").write(&b)
	if s := b.String(); strings.Contains(s, "public DNS") || strings.Contains(s, "TXT") || !strings.Contains(s, "10.0.0.2") {
		t.Errorf("%s", s)
	}
	if _, err := execute("", "dns", "xyz.relay.test", "--relay", "relay.test"); code(err) != 2 {
		t.Errorf("without --listen: code %d", code(err))
	}
	if _, err := execute("", "dns", "xyz.relay.test", "--relay", "relay.test", "--listen", "443"); code(err) != 2 {
		t.Errorf("a port alone: code %d", code(err))
	}
}
