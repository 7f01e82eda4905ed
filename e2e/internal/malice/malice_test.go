package malice_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"keystay/e2e/internal/malice"
	"keystay/e2e/internal/shape"
	"keystay/internal/memconn"
	"keystay/internal/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "xyz.relay.test"

var (
	device   = netip.MustParseAddr("192.0.2.1")
	stranger = netip.MustParseAddr("198.51.100.7")
)

// A lane is a front in memory with a device behind it that says back what it gets.
type lane struct {
	*malice.Front
	t          *testing.T
	at         *memconn.Listener
	own, other tls.Certificate // the device's, and the front's
}

// start starts both. It is called in a bubble.
func start(t *testing.T) *lane {
	ca := testca.New(t)
	l := &lane{t: t, at: memconn.Listen(nil), own: ca.Issue(name), other: testca.New(t).Issue(name)}
	device := memconn.Listen(nil)
	l.Front = &malice.Front{
		Name: name,
		TLS:  &tls.Config{Certificates: []tls.Certificate{l.other}},
		Dial: func(ctx context.Context) (net.Conn, error) { return device.Dial(ctx) },
	}
	go l.Serve(l.at)
	go func() {
		for {
			c, err := device.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				echo := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{l.own}})
				io.Copy(echo, echo)
				echo.CloseWrite()
			}()
		}
	}()
	t.Cleanup(func() {
		device.Close()
		l.Close()
		synctest.Wait()
	})
	return l
}

// visit makes one visit from an address, in which all is as a visitor expects it, and
// reports whether the key was the front's.
func (l *lane) visit(from netip.Addr, protocols ...string) bool {
	l.t.Helper()
	raw, err := l.at.DialFrom(l.t.Context(), &net.TCPAddr{IP: from.AsSlice(), Port: 4711})
	if err != nil {
		l.t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols})
	if _, err := c.Write([]byte("secret")); err != nil {
		l.t.Fatal(err)
	}
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "secret" {
		l.t.Fatalf("%q, %v", b, err)
	}
	leaf := c.ConnectionState().PeerCertificates[0].Raw
	switch {
	case bytes.Equal(leaf, l.other.Certificate[0]):
		return true
	case !bytes.Equal(leaf, l.own.Certificate[0]):
		l.t.Fatal("neither the device's certificate nor the front's")
	}
	return false
}

// Whom the front picks it reads, and those notice nothing but another key; all others
// reach the device.
func TestFrontReadsThoseThatItPicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t)
		if l.visit(stranger) || l.Read() != "" {
			t.Fatal("picked by nobody's wish")
		}
		l.Pick(malice.Everyone)
		if !l.visit(stranger) || l.Read() != "secret" {
			t.Fatalf("not picked, or read %q", l.Read())
		}
		if picked, passed := l.Counts(); picked != 1 || passed != 1 {
			t.Fatalf("picked %d, passed %d", picked, passed)
		}
	})
}

// Each way of picking picks whom it says.
func TestEachModePicksWhomItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t)
		now := time.Now()
		for what, pick := range map[string]struct {
			pick     malice.Intercept
			from     netip.Addr
			expected bool
		}{
			"all but the probe: a stranger":      {malice.AllBut(device), stranger, true},
			"all but the probe: the probe":       {malice.AllBut(device), device, false},
			"browsers: a program":                {malice.OnlyBrowsers, stranger, false},
			"others: a program":                  {malice.OnlyOthers, stranger, true},
			"one in a hundred: one":              {malice.OneIn(100, func() float64 { return 0.009 }), stranger, true},
			"one in a hundred: another":          {malice.OneIn(100, func() float64 { return 0.01 }), stranger, false},
			"a window: now":                      {malice.During(now, now.Add(time.Hour)), stranger, true},
			"a window: in an hour":               {malice.During(now.Add(time.Hour), now.Add(2*time.Hour)), stranger, false},
			"a window that has just been closed": {malice.During(now.Add(-time.Hour), now), stranger, false},
		} {
			l.Pick(pick.pick)
			if got := l.visit(pick.from, "h2", "http/1.1"); got != pick.expected {
				t.Errorf("%s: picked is %v", what, got)
			}
		}
	})
}

// A hello of HTTP/2 alone is none of a browser; a program's never is.
func TestProgramsDoNotLookLikeBrowsers(t *testing.T) {
	if (shape.Shape{}).LooksLikeBrowser() {
		t.Error("nothing looks like a browser")
	}
}

// The DNS server tells those who ask what is meant for them.
func TestDNSAnswersByClient(t *testing.T) {
	n, err := malice.ServeNames("127.0.0.1:0", func(client netip.Addr) []netip.Addr {
		if client == netip.MustParseAddr("127.0.0.2") {
			return []netip.Addr{device, netip.MustParseAddr("2001:db8::1")}
		}
		return []netip.Addr{stranger}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for from, want := range map[string]string{"127.0.0.2": device.String(), "127.0.0.3": stranger.String()} {
		c := dns.Client{Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}, Timeout: time.Minute}
		m, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name+".", dns.TypeA), n.Addr)
		if err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != want {
			t.Errorf("from %s: %v, %v", from, m, err)
		}
	}
}
