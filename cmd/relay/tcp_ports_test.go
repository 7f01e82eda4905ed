package main

import (
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"keystay/config"
	"keystay/internal/testnet"
)

// A port is listened on at each host at which visitors of names come, once.
func TestPortsAreListenedOnWhereNamesAre(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
	}{
		{[]string{":443"}, "[{tcp :20022}]"},
		{[]string{"127.0.0.1:443", "127.0.0.1:8443"}, "[{tcp 127.0.0.1:20022}]"},
		{[]string{"192.0.2.1:443", "[2001:db8::1]:443"}, "[{tcp 192.0.2.1:20022} {tcp [2001:db8::1]:20022}]"},
		{[]string{"0.0.0.0:443", "[::]:443"}, "[{tcp4 0.0.0.0:20022} {tcp6 [::]:20022}]"},
		{[]string{"[::]:443"}, "[{tcp [::]:20022}]"},
		{[]string{"192.0.2.1:443", ":8443"}, "[{tcp :20022}]"},
		{[]string{"0.0.0.0:443", "192.0.2.1:8443"}, "[{tcp4 0.0.0.0:20022}]"},
		{[]string{"192.0.2.1:443", "[::]:443"}, "[{tcp [::]:20022}]"},
		{[]string{"[2001:db8::1]:443", "[::]:443", "0.0.0.0:443"}, "[{tcp6 [::]:20022} {tcp4 0.0.0.0:20022}]"},
		{[]string{"0.0.0.0:443", "[2001:db8::1]:443"}, "[{tcp4 0.0.0.0:20022} {tcp [2001:db8::1]:20022}]"},
	} {
		if got := fmt.Sprint(portAddresses(c.listen, 20022)); got != c.want {
			t.Errorf("%q: %s, want %s", c.listen, got, c.want)
		}
	}
}

// Of what the old process hands over, its ports are told from the other sockets.
func TestPortsAmongTheSocketsThatAreHandedOver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	public := socket{what: "public", addr: ":443", ln: ln}
	ports, others := portSockets([]socket{public, {what: "tcp", addr: "20022", ln: ln}, {what: "tcp", addr: "many", ln: ln}})
	if len(ports) != 1 || ports[0].Port != 20022 || !reflect.DeepEqual(others, []socket{public}) {
		t.Errorf("%v and %v", ports, others)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("a socket that is no port's is open still")
	}
}

// The check says of the public TCP ports whether they can be had.
func TestCheckTriesTheTCPPorts(t *testing.T) {
	c := &checker{cfg: &config.Relay{Listen: []string{"127.0.0.1:443"}}}
	if got := c.tcpPorts(); got != nil {
		t.Errorf("without ports: %v", got)
	}
	addr := testnet.Reserve(t)
	port := uint16(addr.(*net.TCPAddr).Port)
	c.cfg.TCPPorts = config.PortRange{First: port, Last: port}
	if got := c.tcpPorts(); len(got) != 1 || !strings.Contains(fmt.Sprint(got), "they can be had (1 tried)") {
		t.Errorf("of one that is free: %v", got)
	}
	ln, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got := c.tcpPorts(); len(got) != 1 || !strings.Contains(fmt.Sprint(got), "1 of 1 cannot be had") {
		t.Errorf("of one that is taken: %v", got)
	}
}

// However the addresses of listen overlap, a port can be listened on at all of them.
func TestAPortIsListenedOnAtAddressesThatOverlap(t *testing.T) {
	addr := testnet.Reserve(t)
	port := uint16(addr.(*net.TCPAddr).Port)
	overlaps := [][]string{{"0.0.0.0:1", "127.0.0.1:2"}, {":1", "127.0.0.1:2"}}
	if ln, err := net.Listen("tcp", "[::]:0"); err == nil { // the machine has IPv6
		ln.Close()
		overlaps = append(overlaps, []string{"[::]:1", "127.0.0.1:2"})
	}
	for _, listen := range overlaps {
		list, err := listenPort(&config.Relay{Listen: listen})(port)
		if err != nil {
			t.Errorf("%q: %v", listen, err)
		}
		for _, ln := range list {
			ln.Close()
		}
	}
}
