package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"keystay/internal/hint"
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

// What fails with --dns names the server of --dns: package net names the system's.
func TestErrorNamesTheServerOfTheFlag(t *testing.T) {
	const server = "192.0.2.1:53"
	look := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "relay.net", Server: "10.0.0.1:53", IsNotFound: true}}
	for _, err := range []error{look, errors.Join(errors.New("first"), look), hint.Offline.Error(fmt.Errorf("reach relay: %w", look))} {
		var log bytes.Buffer
		logger := askedLog(slog.New(slog.NewTextHandler(&log, nil)), server).With("why", err).WithGroup("g")
		logger.Warn("x", "err", err, "n", 1)
		for _, got := range []string{asked(err, server).Error(), log.String()} {
			if strings.Contains(got, "10.0.0.1") || !strings.Contains(got, "lookup relay.net on "+server+" (--dns): no such host") {
				t.Errorf("%s", got)
			}
		}
		if strings.Contains(log.String(), "10.0.0.1") || !strings.Contains(log.String(), "g.n=1") {
			t.Error(log.String())
		}
		if got := asked(err, server); !errors.Is(got, err) || !slices.Equal(hint.All(got), hint.All(err)) {
			t.Errorf("%v is not %v", got, err)
		}
		if got := asked(err, ""); got != err {
			t.Errorf("without --dns: %v", got)
		}
	}
	if got := asked(fs.ErrNotExist, server); got != fs.ErrNotExist {
		t.Error(got)
	}
	if asked(nil, server) != nil {
		t.Error("no error became one")
	}
}

// Each command that dials does so.
func TestCommandsNameTheServerOfTheFlag(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := server.LocalAddr().String()
	server.Close() // so that it refuses
	for _, args := range [][]string{
		{"connect", "x.relay.test"},
		{"verify", "x.relay.test"},
	} {
		var out bytes.Buffer
		cmd := command()
		cmd.SetArgs(append(args, "--dns", at))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.Execute()
		if err == nil || !strings.Contains(err.Error()+out.String(), " on "+at+" (--dns): ") {
			t.Errorf("%q: %v, %s", args, err, &out)
		}
	}
}
