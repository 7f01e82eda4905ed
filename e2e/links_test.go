package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

const (
	linksZone = "relay.test"
	linksName = "xyz.relay.test"
)

func testLog(t *testing.T, who string) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("who", who, "test", t.Name())
}

// startLinkRemote serves linksName with handler, and waits until it answers.
func startLinkRemote(t *testing.T, c remote.Config, handler http.Handler) *remote.Listener {
	t.Helper()
	c.Domain = linksName
	if c.StateDir == "" {
		c.StateDir = t.TempDir()
	}
	c.Logger = testLog(t, "remote")
	ln, err := remote.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Close()
		ln.Shutdown(ctx)
		<-done
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := ln.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return ln
}

// visitLink fetches linksName at addr on a connection of its own.
func visitLink(ca *testca.CA, addr string) (string, error) {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		TLSClientConfig:   &tls.Config{RootCAs: ca.Pool()},
		DisableKeepAlives: true,
	}
	resp, err := (&http.Client{Transport: tr, Timeout: world.Patience}).Get("https://" + linksName + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func answer(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, s) })
}

// until polls cond, with a bound.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never: " + what)
		}
	}
}

func brought(ca *testca.CA) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue(linksName)}, NextProtos: []string{"h2", "http/1.1"}}
}

// A remote keeps two links, to different addresses; visitors are spread over
// them; the loss of one cuts only its own streams and no new visitor.
func TestLossOfOneOfTwoLinksCutsItsStreamsAlone(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	r := world.StartRelayWith(t, ca, nil, "127.0.0.1:0")
	addrs := r.Addrs
	a, b := world.StartProxyOn(t, "127.0.0.1:0", addrs[0]), world.StartProxyOn(t, "127.0.0.2:0", addrs[0])
	release := make(chan struct{})
	began := make(chan struct{}, 100)
	startLinkRemote(t, remote.Config{
		Relays: []string{linksZone}, RelayAddresses: []string{a.Addr, b.Addr},
		RelayRoots: ca.Pool(), TLS: brought(ca),
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		began <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		io.WriteString(w, " second")
	}))
	until(t, "both links hold the name", func() bool { return r.Log.Count("name is up") == 2 })
	if len(a.Conns()) == 0 || len(b.Conns()) == 0 {
		t.Error("the links do not lead to different addresses")
	}
	const visitors = 20
	results := make(chan error, visitors)
	for range visitors {
		go func() {
			body, err := visitLink(ca, addrs[0])
			if err == nil && body != "first second" {
				err = fmt.Errorf("got %q and no error", body)
			}
			results <- err
		}()
	}
	for range visitors {
		<-began
	}
	b.Refuse()
	b.Cut()
	failed := 0
	// Those of the lost link fail before the others are released.
	for range visitors / 4 {
		if err := <-results; err == nil {
			t.Error("a visitor was served before it could be")
		}
		failed++
	}
	close(release)
	for range visitors - failed {
		if err := <-results; err != nil {
			failed++
		}
	}
	if failed < visitors/4 || failed > visitors*3/4 {
		t.Errorf("%d of %d visitors failed with one of two links", failed, visitors)
	}
	for range 20 {
		if _, err := visitLink(ca, addrs[0]); err != nil {
			t.Errorf("a new visitor after the loss of one link: %v", err)
		}
		<-began
	}
}

// One name is served through two relays at once.
func TestTwoRelaysServeOneName(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	first := world.StartRelayWith(t, ca, nil, "127.0.0.1:0").Addrs
	second := world.StartRelayWith(t, ca, nil, "127.0.0.1:0")
	addrs := second.Addrs
	_, p1, _ := net.SplitHostPort(first[0])
	_, p2, _ := net.SplitHostPort(addrs[0])
	startLinkRemote(t, remote.Config{
		Relays:         []string{linksZone + ":" + p1, linksZone + ":" + p2},
		RelayAddresses: []string{first[0], addrs[0]},
		RelayRoots:     ca.Pool(), TLS: brought(ca),
	}, answer("here"))
	for _, addr := range []string{first[0], addrs[0]} {
		until(t, "an answer at "+addr, func() bool { b, err := visitLink(ca, addr); return err == nil && b == "here" })
	}
	second.Stop()
	if b, err := visitLink(ca, first[0]); b != "here" {
		t.Errorf("after the loss of the other relay: %q, %v", b, err)
	}
}

// copyIdentity makes a state directory of a second device with the same
// identity.
func copyIdentity(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	b, err := os.ReadFile(filepath.Join(from, "identity.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "identity.pem"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// Two devices serve one name on purpose; when one goes, the other serves all.
func TestReplicasShareVisitors(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	addrs := world.StartRelayWith(t, ca, nil, "127.0.0.1:0").Addrs
	config := func(dir string) remote.Config {
		return remote.Config{Relays: []string{linksZone}, RelayAddresses: addrs, RelayRoots: ca.Pool(),
			TLS: brought(ca), StateDir: dir, Replica: true}
	}
	dir := t.TempDir()
	one := startLinkRemote(t, config(dir), answer("one"))
	startLinkRemote(t, config(copyIdentity(t, dir)), answer("two"))

	// Visitors that stay spread over both.
	seen := make(map[string]int)
	for range 10 {
		c, err := tls.Dial("tcp", addrs[0], &tls.Config{ServerName: linksName, RootCAs: ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", linksName)
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		_, body, _ := strings.Cut(string(b[:n]), "\r\n\r\n")
		seen[body]++
	}
	if seen["one"] != 5 || seen["two"] != 5 {
		t.Errorf("visitors per replica: %v", seen)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	one.Shutdown(ctx)
	// A visitor who comes before the relay sees the end of its links may be cut with them.
	world.Eventually(t, world.Patience, "the other replica serves five visitors in a row", func() bool {
		for range 5 {
			if b, err := visitLink(ca, addrs[0]); err != nil || b != "two" {
				return false
			}
		}
		return true
	})
}

// Without --replica the newer run has the name alone.
func TestReplicaAndNot(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	addrs := world.StartRelayWith(t, ca, nil, "127.0.0.1:0").Addrs
	config := remote.Config{Relays: []string{linksZone}, RelayAddresses: addrs, RelayRoots: ca.Pool(), TLS: brought(ca)}
	config.StateDir, config.Replica = t.TempDir(), true
	one := startLinkRemote(t, config, answer("one"))
	config.StateDir, config.Replica = copyIdentity(t, config.StateDir), false
	startLinkRemote(t, config, answer("two"))
	_, err := one.Accept()
	var d *framing.Denial
	if !errors.As(err, &d) || d.Code != framing.DeniedReplaced {
		t.Errorf("the older run: %v", err)
	}
	if b, err := visitLink(ca, addrs[0]); b != "two" {
		t.Errorf("got %q, %v", b, err)
	}
}

// Two replicas order their certificates through one relay, at the same time:
// each validation reaches the one that ordered.
func TestReplicasOrderAtTheSameTime(t *testing.T) {
	t.Parallel()
	le := startPebble(t, pebble.Options{})
	ca := testca.New(t)
	addrs := world.StartRelayWith(t, ca, nil, "127.0.0.1:0").Addrs
	le.SetTLSTarget(addrs[0])
	dir := t.TempDir() // for the identity alone
	first := startLinkRemote(t, remote.Config{Relays: []string{linksZone}, RelayAddresses: addrs, RelayRoots: ca.Pool(),
		StateDir: dir, TLS: brought(ca)}, answer(""))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	first.Shutdown(gone)
	var wg sync.WaitGroup
	for _, d := range []string{copyIdentity(t, dir), copyIdentity(t, dir)} {
		wg.Go(func() {
			startLinkRemote(t, remote.Config{
				Relays: []string{linksZone}, RelayAddresses: addrs, RelayRoots: ca.Pool(), StateDir: d, Replica: true,
				ACME: acme.Config{CA: le.DirectoryURL(), Roots: le.APIPool(), NoHTTP01: true},
			}, answer(d))
		})
	}
	wg.Wait()
	if n := len(le.Orders()); n != 2 {
		t.Errorf("%d orders for two replicas", n)
	}
}
