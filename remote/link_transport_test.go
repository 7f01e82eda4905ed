package remote_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote"
)

// newPath starts a relay for both transports. What breaks them on the way to it
// is how it answers them.
func newPath(t *testing.T) *fakeRelay { return newRelay(t, webSocket) }

// startIn starts a remote with a state directory.
func (r *fakeRelay) startIn(dir string, change func(*remote.Config)) *remote.Listener {
	return r.start(func(cfg *remote.Config) {
		cfg.Relays, cfg.StateDir = []string{zone}, dir
		if change != nil {
			change(cfg)
		}
	})
}

// fails waits until so many hellos have come that the last belongs to the
// second attempt, and returns why the first one failed.
func (r *fakeRelay) fails(ln *remote.Listener, hellos int) error {
	r.t.Helper()
	for range hellos {
		<-r.came
	}
	return ln.Wait(expired())
}

func hintsOf(err error) string { return strings.Join(hint.All(err), "\n") }

// Whatever breaks raw TLS on the path, a WebSocket is tried at once, and is
// what a later start begins with.
func TestFallsBackToWebSocket(t *testing.T) {
	for name, breaks := range map[string]answer{
		"reset":                   reset,
		"EOF":                     eof,
		"no_application_protocol": speaking(nil, web),
		"handshake_failure":       alert(40),
		"no ALPN in the answer":   speaking(nil),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.answer(raw, breaks)
			dir := t.TempDir()
			ln := p.startIn(dir, nil)
			p.next()
			if got := p.seen(); !slices.Equal(got, []string{raw, web}) {
				t.Errorf("hellos %q", got)
			}
			end(ln)
			b, err := os.ReadFile(filepath.Join(dir, "transport"))
			if err != nil || !strings.HasPrefix(string(b), "relay.test wss 2") {
				t.Errorf("remembered %q, %v", b, err)
			}
			p.startIn(dir, nil)
			p.next()
			if got := p.seen(); !slices.Equal(got, []string{web}) {
				t.Errorf("hellos of the next start %q", got)
			}
		})
	}
}

// largeHello is a ClientHello that does not fit into one packet everywhere.
const largeHello = 1200

// dropsLarge passes everything on to the relay, but ends a connection whose
// first record is a large one.
func (r *fakeRelay) dropsLarge() (addr string) {
	r.t.Helper()
	return testnet.Serve(r.t, func(c net.Conn) {
		first := make([]byte, 5)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if binary.BigEndian.Uint16(first[3:]) > largeHello {
			c.(*net.TCPConn).SetLinger(0)
			return
		}
		to, err := net.Dial("tcp", r.addr)
		if err != nil {
			return
		}
		defer to.Close()
		r.wg.Go(func() { io.Copy(c, to); c.Close() })
		to.Write(first)
		io.Copy(to, c)
	}).String()
}

// A path that loses large hellos lets the next one through, which is small,
// whatever the transport; the log says so with a hint, and the next start begins
// with a small one.
func TestSmallHelloAfterOneThatWasLost(t *testing.T) {
	for _, use := range []remote.Transport{remote.TransportAuto, remote.TransportTLS, remote.TransportWSS} {
		t.Run(string(use), func(t *testing.T) {
			p := newPath(t)
			addr := p.dropsLarge()
			logged := make(lines, 100)
			dir := t.TempDir()
			links := 1
			start := func() *remote.Listener {
				return p.startIn(dir, func(c *remote.Config) {
					c.RelayAddresses, c.Transport, c.Links = []string{addr}, use, links
					c.Logger = slog.New(slog.NewTextHandler(logged, nil))
				})
			}
			if use == remote.TransportAuto {
				links = 2 // the second one finds out that TLS gets through
			}
			ln := start()
			for range links {
				p.next()
			}
			for hint := ""; !strings.Contains(hint, "hint="); {
				if hint = <-logged; !strings.Contains(hint, "with a smaller first message") {
					hint = ""
				}
			}
			end(ln)
			want := map[remote.Transport][]string{remote.TransportAuto: {web, raw}, remote.TransportTLS: {raw}, remote.TransportWSS: {web}}
			if got := p.seen(); !slices.Equal(got, want[use]) {
				t.Errorf("hellos %q, want %q", got, want[use])
			}
			if use != remote.TransportAuto {
				return
			}
			if b, err := os.ReadFile(filepath.Join(dir, "transport")); err != nil || !strings.HasPrefix(string(b), "relay.test tls 2") || !strings.HasSuffix(string(b), " small\n") {
				t.Errorf("remembered %q, %v", b, err)
			}
			links = 1
			start()
			p.next()
			if got := p.seen(); !slices.Equal(got, []string{raw}) {
				t.Errorf("hellos of the next start %q", got)
			}
		})
	}
}

// What another transport would meet as well is no reason for one.
func TestNoOtherWay(t *testing.T) {
	other := testca.New(t)
	for name, tt := range map[string]struct {
		breaks answer
		text   string
		hint   string
	}{
		"certificate": {speaking(other, raw, web),
			`issued by "keystay test CA"`, "something between this device and the relay ends TLS"},
		"certificate without ALPN": {speaking(other),
			`issued by "keystay test CA"`, "something between this device and the relay ends TLS"},
		"unrecognized_name": {alert(112), "under another name", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.answer(raw, tt.breaks)
			err := p.fails(p.startIn(t.TempDir(), nil), 2)
			if got := p.seen(); slices.Contains(got, web) {
				t.Errorf("hellos %q", got)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(hintsOf(err), tt.hint) {
				t.Errorf("%v\n%s", err, hintsOf(err))
			}
		})
	}
}

// A proof that fails is final, on whatever transport.
func TestBadProofIsFinal(t *testing.T) {
	for name, want := range map[string][]string{"raw": {raw}, "web": {raw, web}} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.set(&framing.Refusal{Code: framing.RefusedProof, Text: "something ends TLS"}, nil)
			if len(want) > 1 {
				p.answer(raw, reset)
			}
			_, err := p.startIn(t.TempDir(), nil).Accept()
			var refusal *framing.Refusal
			if !errors.As(err, &refusal) || refusal.Code != framing.RefusedProof {
				t.Errorf("got %v", err)
			}
			if got := p.seen(); !slices.Equal(got, want) {
				t.Errorf("hellos %q, want %q", got, want)
			}
		})
	}
}

// A transport that is asked for is the only one.
func TestFixedTransportIsTheOnlyOne(t *testing.T) {
	p := newPath(t)
	dir := t.TempDir()
	ln := p.startIn(dir, func(c *remote.Config) { c.Transport = remote.TransportWSS })
	p.next()
	end(ln)
	if got := p.seen(); !slices.Equal(got, []string{web}) {
		t.Errorf("wss: hellos %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "transport")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("wss: remembered, %v", err)
	}
	p.answer(raw, reset)
	p.fails(p.startIn(dir, func(c *remote.Config) { c.Transport = remote.TransportTLS }), 3)
	if got := p.seen(); slices.Contains(got, web) {
		t.Errorf("tls: hellos %q", got)
	}
	if _, err := remote.Listen(remote.Config{StateDir: dir, Transport: "ws"}); err == nil {
		t.Error("any transport will do")
	}
}

// What has worked is tried alone, and forgotten when it fails: then both are
// tried.
func TestTransportIsForgotten(t *testing.T) {
	p := newPath(t)
	dir := t.TempDir()
	p.startIn(dir, nil)
	p.next()
	if got := p.seen(); !slices.Equal(got, []string{raw}) {
		t.Fatalf("hellos %q", got)
	}
	p.answer(raw, reset)
	p.cut()
	p.next()
	if got := p.seen(); !slices.Equal(got, []string{raw, raw, web}) {
		t.Errorf("after raw TLS broke: hellos %q", got)
	}
	p.answer(raw, nil)
	p.answer(web, reset)
	p.cut()
	p.next()
	if got := p.seen(); !slices.Equal(got, []string{web, raw}) {
		t.Errorf("after the WebSocket broke: hellos %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "transport")); err != nil || len(b) != 0 {
		t.Errorf("still remembered: %q, %v", b, err)
	}
}

// When nothing gets through, the error says what happened to each transport.
func TestNothingGetsThrough(t *testing.T) {
	p := newPath(t)
	p.answer(raw, reset)
	p.answer(web, eof)
	err := p.fails(p.startIn(t.TempDir(), nil), 3)
	if text := err.Error(); !strings.Contains(text, "over TLS: ") || !strings.Contains(text, "over a WebSocket: ") {
		t.Errorf("got %s", text)
	}
	if !strings.Contains(hintsOf(err), "--proxy") {
		t.Errorf("hints %s", hintsOf(err))
	}
}

// A relay that takes no connection is not asked twice in one attempt.
func TestClosedPortIsAskedOnceInAnAttempt(t *testing.T) {
	p := newPath(t)
	p.ln.Close()
	asked := make(chan string, 16)
	ln := p.startIn(t.TempDir(), func(c *remote.Config) {
		c.Proxy = func(r *http.Request) (*url.URL, error) {
			asked <- r.URL.String()
			return nil, nil
		}
	})
	err := afterThree(asked, ln)
	if !errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "WebSocket") {
		t.Errorf("got %v", err)
	}
}

// afterThree returns why there is no session once a third connection is tried,
// so that at least one attempt is over.
func afterThree(asked <-chan string, ln *remote.Listener) error {
	for range 3 {
		<-asked
	}
	return ln.Wait(expired())
}

// The proxy is chosen for the relay's name, and an error of it names it.
func TestProxyIsChosen(t *testing.T) {
	p := newPath(t)
	asked := make(chan string, 16)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	ln := p.startIn(t.TempDir(), func(c *remote.Config) {
		c.Proxy = func(r *http.Request) (*url.URL, error) {
			asked <- r.URL.String()
			return &url.URL{Scheme: "http", Host: gone.Addr().String(), User: url.UserPassword("me", "hunter2")}, nil
		}
	})
	if got := <-asked; got != "https://relay.test:443" {
		t.Errorf("a proxy for %s", got)
	}
	if err = afterThree(asked, ln); strings.Contains(err.Error(), "WebSocket") {
		t.Errorf("asked for the same connection twice: %v", err)
	}
	if !strings.Contains(err.Error(), "proxy http://"+gone.Addr().String()+": ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if hints := hintsOf(err); !strings.Contains(hints, "--proxy none") || strings.Contains(hints, "DNS") {
		t.Errorf("hints %s", hints)
	}
	if got := p.seen(); len(got) > 0 {
		t.Errorf("hellos %q", got)
	}
}

// A relay that speaks an older version and a newer one in turn is no path that breaks TLS: no
// WebSocket is tried, nor remembered for a day.
func TestVersionsInTurnAreNoReasonForAWebSocket(t *testing.T) {
	r, dir := newPath(t), t.TempDir()
	end(r.startServed(dir, nil))
	rotate(t, dir) // each version is greeted with a key of its own
	var names owners
	var mu sync.Mutex
	var last net.Conn
	older, inTurn, came := true, false, make(chan struct{}, 100)
	turns := func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		inTurn = on
	}
	cut := func() {
		mu.Lock()
		defer mu.Unlock()
		last.Close()
	}
	ln := acceptAll(t, func(c net.Conn) {
		mu.Lock()
		last, older = c, older != inTurn
		now := older
		if inTurn {
			came <- struct{}{}
		}
		mu.Unlock()
		if now {
			oldRelay(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{r.cert}, NextProtos: []string{raw}}), &names)
		} else {
			r.serve(c)
		}
	})
	up := &logWatch{slog.NewTextHandler(t.Output(), nil), "session is up", make(chan struct{}, 1)}
	await := func(c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatal("it does not come")
		}
	}
	r.startIn(dir, func(cfg *remote.Config) {
		cfg.RelayAddresses, cfg.Logger = []string{ln.Addr().String()}, slog.New(up)
	})
	t.Cleanup(cut)
	await(up.seen)
	turns(true)
	cut()
	for range 5 { // two attempts of two each, of which the second may try a WebSocket, and one more
		await(came)
	}
	turns(false)
	await(up.seen)
	if got := r.seen(); slices.Contains(got, web) {
		t.Errorf("hellos %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "transport")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remembered %q, %v", b, err)
	}
}
