package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/memconn"
	"keystay/internal/proxydial"
	"keystay/internal/testca"
)

// That only a WebSocket gets through is believed for a day.
func TestTLSIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{dir: t.TempDir()}
		var first transports
		first.init(TransportAuto, s)
		both := []Transport{TransportTLS, TransportWSS}
		if got := first.plan("relay.net").transports; !slices.Equal(got, both) {
			t.Errorf("at first: %q", got)
		}
		first.reached("relay.net", worked{by: TransportWSS})
		first.reached("other.net:8443", worked{by: TransportTLS})
		time.Sleep(tryTLSAgain / 2)
		first.reached("relay.net", worked{by: TransportWSS}) // a new link, not a new day
		for name, at := range map[string]*transports{"this run": &first, "the next": {}} {
			if name == "the next" {
				at.init("", s)
			}
			if got := at.plan("relay.net").transports; !slices.Equal(got, []Transport{TransportWSS}) {
				t.Errorf("within the day, %s: %q", name, got)
			}
		}
		time.Sleep(tryTLSAgain / 2)
		for name, at := range map[string]*transports{"this run": &first, "the next": {}} {
			if name == "the next" {
				at.init("", s)
			}
			if got := at.plan("relay.net").transports; !slices.Equal(got, both) {
				t.Errorf("after the day, %s: %q", name, got)
			}
		}
	})
}

// What a relay does that ends TLS and WebSockets in turn is written down a few times, and then
// now and then and when the device ends, as it is by then.
func TestTransportsInTurnAreWrittenDownRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{dir: t.TempDir()}
		d := &Device{state: s, log: slog.New(slog.DiscardHandler)}
		d.begin()
		file := filepath.Join(s.dir, transportFile)
		inTurn := func(times int) {
			for range times {
				d.transports.failed("relay.net", false)
				d.transports.reached("relay.net", worked{by: TransportWSS})
				time.Sleep(time.Second)
			}
		}
		check := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			b, err := os.ReadFile(file)
			if got := strings.Contains(string(b), "relay.net wss"); got != want {
				t.Errorf("%s it has %q, %v", when, b, err)
			}
			os.Remove(file)
		}
		inTurn(saveBurst / 2)
		check("at first", true)
		inTurn(100)
		check("soon", false)
		time.Sleep(saveInterval)
		check("later", true)
		inTurn(1)
		check("soon after that", false)
		d.cancel(nil)
		check("in the end", true)
		d.cutAll()
		d.wg.Wait()
	})
}

// A transport file that is not ours is passed over.
func TestStrangeTransportFile(t *testing.T) {
	s := &state{dir: t.TempDir()}
	now := time.Now().UTC()
	file := filepath.Join(s.dir, transportFile)
	good := "relay.net wss " + now.Format(time.RFC3339) + "\n"
	for name, text := range map[string]string{
		"empty":      "",
		"garbage":    "\x00\xff\n\n relay.net\n",
		"no time":    "relay.net wss yesterday\n",
		"the future": "relay.net wss " + now.Add(time.Hour).Format(time.RFC3339) + "\n",
		"unknown":    "relay.net quic " + now.Format(time.RFC3339) + "\n",
		"too long":   good + strings.Repeat("x", maxTransportFile),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var at transports
		at.init(TransportAuto, s)
		if got := at.plan("relay.net").transports; len(got) != 2 {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := os.WriteFile(file, []byte("garbage\n"+good), 0o600); err != nil {
		t.Fatal(err)
	}
	var at transports
	at.init(TransportAuto, s)
	if got := at.plan("relay.net").transports; len(got) != 1 {
		t.Errorf("beside garbage: %q", got)
	}
}

// A path that swallows what is not HTTPS is given up early enough for a
// WebSocket to be tried.
func TestSilentPathIsGivenUpForAWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		defer b.Close()
		d := &Device{state: &state{}}
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		began := time.Now()
		_, _, err := d.greet(ctx, net.Conn(a), TransportTLS, false, "relay.net", framing.Hello{Run: d.state.run}, framing.Handler{})
		if err == nil || !blocked(err) || !isLostHello(err) || err.Error() != "no answer to the TLS handshake within 10s" ||
			!slices.Equal((&NoRelayError{Err: err}).Hints(), hint.Silent.Do) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != relayHandshakeTimeout {
			t.Errorf("after %v", d)
		}
	})
}

// Nothing is tried in another way that the listener itself has ended.
func TestEndedIsNotBlocked(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a, b := memconn.Pipe(0)
	defer b.Close()
	d := &Device{state: &state{}}
	_, _, err := d.greet(ctx, net.Conn(a), TransportTLS, false, "relay.net", framing.Hello{Run: d.state.run}, framing.Handler{})
	if err == nil || blocked(err) {
		t.Errorf("got %v", err)
	}
}

// A proxy's refusal is the same for every transport, and so is what the device itself decides.
func TestNeitherProxyNorDeviceBlocksAPath(t *testing.T) {
	_, noProxy := (&DeviceConfig{Proxy: func(*http.Request) (*url.URL, error) { return nil, io.EOF }}).proxy("relay.test:443")
	_, notAtPort := new(way).dialNode(t.Context(), new(url.URL), "443", "192.0.2.1:80")
	for _, err := range []error{&proxydial.Error{Status: 403}, noProxy, notAtPort, errOlder} {
		if blocked(fmt.Errorf("x: %w", err)) {
			t.Errorf("another transport is tried after %v", err)
		}
	}
}

// The system reports a reset that comes right after the connection was made as an
// error of the dial.
func TestResetInTheDialIsBlockedAndShowsNothing(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return fmt.Errorf("x: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)})
	}
	if err := dial(syscall.ECONNRESET); !blocked(err) || isNoRelay(err) || cheap(err) {
		t.Errorf("%v: blocked %v, no relay %v, cheap %v", err, blocked(err), isNoRelay(err), cheap(err))
	}
	if err := dial(syscall.ECONNREFUSED); blocked(err) || !isNoRelay(err) || !cheap(err) {
		t.Errorf("%v: blocked %v, no relay %v, cheap %v", err, blocked(err), isNoRelay(err), cheap(err))
	}
}

// What reached the relay is not forgotten because an attempt was given up.
func TestGivenUpIsNotForgotten(t *testing.T) {
	ca := testca.New(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue("relay.test")}, NextProtos: []string{framing.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Read(make([]byte, 1)) // HELLO has come, and gets no answer
		cancel()
		io.Copy(io.Discard, c)
	}()
	d := &Device{cfg: DeviceConfig{RelayRoots: ca.Pool(), Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}}
	if d.state, err = openState(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	d.transports.init(TransportAuto, d.state)
	d.transports.reached("relay.test", worked{by: TransportTLS})
	d.ctx = t.Context()
	w := newWay(d, route{addresses: []string{ln.Addr().String()}})
	if _, _, err := w.link(ctx, "relay.test", target{}, framing.Handler{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := d.transports.plan("relay.test").transports; !slices.Equal(got, []Transport{TransportTLS}) {
		t.Errorf("now it tries %q", got)
	}
}

// Without Config.Proxy the environment's convention holds, ALL_PROXY included.
func TestProxyOfTheEnvironment(t *testing.T) {
	for _, name := range append(proxydial.Variables(), "NO_PROXY", "no_proxy") {
		t.Setenv(name, "")
	}
	t.Setenv("ALL_PROXY", "socks5://proxy.test:1080")
	u, err := new(DeviceConfig).proxy("relay.test:8443")
	if err != nil || u == nil || u.String() != "socks5://proxy.test:1080" {
		t.Errorf("%v, %v", u, err)
	}
}
