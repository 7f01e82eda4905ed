package relay

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unique"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/internal/memconn"
	"keystay/relay/names"
)

// crowd makes a server with so many remotes, of two links each, that are connected
// without TLS.
func crowd(t testing.TB, n int) *Server {
	t.Helper()
	grants, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { grants.Close() })
	s := &Server{Domain: "relay.test", TLS: &tls.Config{}, Names: &names.Names{Grants: grants}}
	s.init()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { s.Close() })
	ln := memconn.Listen(nil)
	for i := range 2 * n {
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		binary.BigEndian.PutUint32(key, uint32(i/2))
		client, err := ln.DialFrom(t.Context(), &net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Port: 7})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		run := framing.Run{Number: 1}
		wg.Go(func() {
			framing.Client(context.Background(), client, framing.Hello{Key: key, Signature: make([]byte, ed25519.SignatureSize), Run: run}, framing.Handler{})
			client.Close()
		})
		link, _, err := framing.Server(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		sess := &session{srv: s, link: link, key: key, run: run, agent: unique.Make("test"), since: time.Now().Unix(), names: []string{fmt.Sprintf("n%d.relay.test", i/2)}}
		s.presence.join(sess)
	}
	return s
}

// Thousands of remotes are listed page by page, each once with both of its links, and
// one of them is found by what it is called.
func TestThousandsOfRemotesAreListed(t *testing.T) {
	const n = 2000
	s := crowd(t, n)
	seen := make(map[string]bool)
	began, pages := time.Now(), 0
	for cursor := ""; ; pages++ {
		list, next, err := s.Remotes(Which{}, cursor, 200)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if seen[r.Identity] || len(r.Links) != 2 || len(r.Names) != 1 || r.Agent != "test" {
				t.Fatalf("%+v", r)
			}
			seen[r.Identity] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	t.Logf("%d pages took %v", pages+1, time.Since(began))
	if len(seen) != n {
		t.Errorf("%d remotes are listed", len(seen))
	}
	key := make(ed25519.PublicKey, ed25519.PublicKeySize)
	binary.BigEndian.PutUint32(key, 1234)
	for what, w := range map[string]Which{
		"identity":              {Identity: keyname.Label(key, "")},
		"name":                  {Name: "n1234.relay.test"},
		"a part of its name":    {Contains: "N1234.relay"},
		"a part of its address": {Contains: "10.0.9.165:"},
		"a part of the label":   {Contains: keyname.Label(key, "")[4:30]},
		"address":               {Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 2469 >> 8, 2469 & 255}), 7)},
	} {
		list, next, err := s.Remotes(w, "", 10)
		if err != nil || next != "" || len(list) != 1 || list[0].Names[0] != "n1234.relay.test" || len(list[0].Links) != 2 {
			t.Errorf("by %s: %+v, %q, %v", what, list, next, err)
		}
	}
	if list, _, err := s.Remotes(Which{Contains: "TES"}, "", 10); err != nil || len(list) != 10 {
		t.Errorf("by a part of the program: %d, %v", len(list), err)
	}
	if _, _, err := s.Remotes(Which{}, "no cursor!", 1); err == nil {
		t.Error("any text is a cursor")
	}
}

// A page of a list of many remotes is made in a moment, and holds nobody up meanwhile:
// whoever looks for a name waits for no part of it but a copy of what there is.
func BenchmarkRemotes(b *testing.B) {
	const n = 10_000
	s := crowd(b, n)
	for what, w := range map[string]Which{"all": {}, "found": {Contains: "n9999."}, "nobody": {Contains: "nobody"}} {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Remotes(w, "", 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("copy", func(b *testing.B) { // under the lock
		for b.Loop() {
			s.presence.links()
		}
	})
}
