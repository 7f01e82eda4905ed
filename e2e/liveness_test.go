package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// noticed and serving only guard against hanging, on a machine however slow. How
// soon each end notices a dead link, and dials anew, is tested in virtual time, by
// framing and remote; here the log says how long it took.
const (
	noticed = world.Patience
	serving = world.Patience
)

// A pairOf is a relay and a remote as programs of their own, with a rough proxy
// between them.
type pairOf struct {
	t             *testing.T
	ca            *testca.CA
	relay, remote *world.Process
	public        string
	path          *world.Proxy
}

func startPair(t *testing.T, args ...string) *pairOf {
	p := &pairOf{t: t, ca: testca.New(t)}
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, p.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	p.relay, p.public = world.StartRelayProgram(t, p.ca, t.TempDir(), "127.0.0.1:0", "127.0.0.1:0")
	p.path = world.StartProxy(t, p.public)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(site.Close)
	cert, key := p.ca.Files(dir, "xyz."+pathZone)
	p.remote = world.Start(t, os.Environ(), "remote", append(args, "--domain", "xyz."+pathZone, "--local", strings.TrimPrefix(site.URL, "http://"),
		"--relay", pathZone, "--relay-address", p.path.Addr, "--relay-root", root,
		"--cert", cert, "--key", key, "--state-dir", filepath.Join(dir, "device"))...)
	p.remote.AwaitTimes(world.Patience, "another link is up", 1) // both are: one that was still to come would outlive the first
	return p
}

// answers waits until the name answers.
func (p *pairOf) answers(limit time.Duration) {
	p.t.Helper()
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: p.ca.Pool()},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.public)
		},
	}
	client := http.Client{Transport: tr, Timeout: limit}
	start := time.Now()
	world.Eventually(p.t, limit, "the name answers", func() bool {
		resp, err := client.Get("https://xyz." + pathZone + "/")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return err == nil && string(b) == "hello"
	})
	p.t.Logf("the name answers after %v", time.Since(start).Round(time.Millisecond))
}

// What the programs say when a link is gone.
const (
	lostAtRemote = "no session with the relay" // the last of its links
	lostAtRelay  = "remote disconnected"
)

// A relay that is frozen still acknowledges what it is sent.
func TestFrozenRelayIsNoticed(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(world.Patience)
	p.relay.Signal(syscall.SIGSTOP)
	t.Logf("the remote noticed after %v", p.remote.AwaitTimes(noticed, lostAtRemote, 1))
	p.relay.Signal(syscall.SIGCONT)
	p.answers(serving)
}

// A remote that is frozen is noticed, and back at once when it wakes up.
func TestFrozenRemoteIsNoticedAndBack(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(world.Patience)
	p.remote.Signal(syscall.SIGSTOP)
	t.Logf("the relay noticed after %v", p.relay.AwaitTimes(noticed, lostAtRelay, 1))
	p.remote.Signal(syscall.SIGCONT)
	p.answers(serving)
	p.remote.AwaitTimes(world.Patience, "has slept", 1)
}

// A freeze that is shorter than the limit loses nothing.
func TestShortFreezeLosesNothing(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(world.Patience)
	for _, d := range []*world.Process{p.relay, p.remote} {
		d.Signal(syscall.SIGSTOP)
		<-time.After(5 * time.Second)
		d.Signal(syscall.SIGCONT)
		p.answers(serving)
	}
	if p.remote.All.Count(lostAtRemote) > 0 || p.relay.All.Count(lostAtRelay) > 0 {
		t.Error("the link was given up")
	}
}

// A path that drops everything, without a FIN or reset, is noticed by both ends.
func TestSilentPathIsNoticedAtBothEnds(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(world.Patience)
	p.path.Lose()
	start := time.Now()
	// The first link may be back before the second is lost: then there always is a session.
	p.remote.AwaitTimes(noticed, "the other side has gone silent", 1)
	t.Logf("the remote noticed after %v", time.Since(start))
	p.relay.AwaitTimes(noticed, lostAtRelay, 1)
	t.Logf("the relay noticed after %v", time.Since(start))
	p.answers(serving)
}
