package main

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// With --dns all look-ups go to that server, whatever the system says.
func TestDNSServerOfTheFlagIsAsked(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); answerDNS(server) }()
	t.Cleanup(func() { server.Close(); <-done })
	useDNS(server.LocalAddr().String())
	got, err := net.LookupHost("relay.keystay-test.invalid")
	if err != nil || !slices.Equal(got, []string{"192.0.2.5"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// answerDNS answers every question for an IPv4 address with 192.0.2.5.
func answerDNS(server net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil {
			continue
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: netip.MustParseAddr("192.0.2.5").As4()}}}
		}
		if b, err := m.Pack(); err == nil {
			server.WriteTo(b, from)
		}
	}
}
