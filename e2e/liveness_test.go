package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/internal/testca"
)

// noticed is how soon both ends must notice a dead link, and serving how soon a
// name must answer again once it can.
const (
	noticed = 20 * time.Second
	serving = 5 * time.Second
)

// A daemon is one of the two programs, running.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	mu    sync.Mutex
	log   bytes.Buffer
	ended chan struct{}
}

// buildOnce builds the two programs and returns their folder.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(os.Getenv("KEYSTAY_TEST_BIN"), "keystay-programs-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir, "./cmd/relay", "./cmd/remote")
	if raceEnabled {
		build.Args = slices.Insert(build.Args, 2, "-race")
	}
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w: %s", err, out)
	}
	return dir, nil
})

// startDaemon starts a program that ends with the test.
func startDaemon(t *testing.T, program string, args ...string) *daemon {
	t.Helper()
	dir, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, cmd: exec.Command(filepath.Join(dir, program), args...), ended: make(chan struct{})}
	stderr, err := d.cmd.StderrPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			d.mu.Lock()
			d.log.WriteString(s.Text() + "\n")
			d.mu.Unlock()
		}
		d.cmd.Wait()
	}()
	t.Cleanup(func() {
		d.signal(syscall.SIGCONT)
		d.cmd.Process.Kill()
		<-d.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", program, d.said())
		}
	})
	return d
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func (d *daemon) signal(s os.Signal) { d.cmd.Process.Signal(s) }

// waits waits until the log has the words n times, and returns how long it took.
func (d *daemon) waits(limit time.Duration, words string, n int) time.Duration {
	d.t.Helper()
	start := time.Now()
	eventually(d.t, limit, words, func() bool { return strings.Count(d.said(), words) >= n })
	return time.Since(start)
}

// A pairOf is a relay and a remote as programs of their own, with a rough proxy
// between them.
type pairOf struct {
	t             *testing.T
	ca            *testca.CA
	relay, remote *daemon
	public        string
	path          *rough
}

func startPair(t *testing.T) *pairOf {
	p := &pairOf{t: t, ca: testca.New(t)}
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, p.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := p.ca.Files(dir, pathZone, "*."+pathZone)
	config := filepath.Join(dir, "relay.yaml")
	text := fmt.Sprintf("domain: %s\nlisten: [\"127.0.0.1:0\"]\nhttp_listen: []\nstate_dir: %s\ntls: {cert_file: %s, key_file: %s}\nadmin: {listen: \"127.0.0.1:0\"}\n",
		pathZone, filepath.Join(dir, "relay"), cert, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.relay = startDaemon(t, "relay", "--config", config)
	const socket = "for=public addr="
	p.relay.waits(patience, socket, 1)
	_, rest, _ := strings.Cut(p.relay.said(), socket)
	p.public = strings.Fields(rest)[0]
	p.path = startRough(t, p.public)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(site.Close)
	p.remote = startDaemon(t, "remote", "--domain", "xyz."+pathZone, "--local", strings.TrimPrefix(site.URL, "http://"),
		"--relay", pathZone, "--relay-address", p.path.addr, "--relay-root", root,
		"--cert", cert, "--key", key, "--state-dir", filepath.Join(dir, "device"))
	p.remote.waits(patience, "session is up", 1)
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
	eventually(p.t, limit, "the name answers", func() bool {
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
func TestFrozenRelay(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(patience)
	p.relay.signal(syscall.SIGSTOP)
	t.Logf("the remote noticed after %v", p.remote.waits(noticed, lostAtRemote, 1))
	p.relay.signal(syscall.SIGCONT)
	p.answers(serving)
}

// A remote that is frozen is noticed, and back at once when it wakes up.
func TestFrozenRemote(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(patience)
	p.remote.signal(syscall.SIGSTOP)
	t.Logf("the relay noticed after %v", p.relay.waits(noticed, lostAtRelay, 1))
	p.remote.signal(syscall.SIGCONT)
	p.answers(serving)
	p.remote.waits(patience, "has slept", 1)
}

// A freeze that is shorter than the limit loses nothing.
func TestShortFreeze(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(patience)
	for _, d := range []*daemon{p.relay, p.remote} {
		d.signal(syscall.SIGSTOP)
		<-time.After(5 * time.Second)
		d.signal(syscall.SIGCONT)
		p.answers(serving)
	}
	if strings.Contains(p.remote.said(), lostAtRemote) || strings.Contains(p.relay.said(), lostAtRelay) {
		t.Error("the link was given up")
	}
}

// A path that drops everything, without a FIN or reset, is noticed by both ends.
func TestSilentPath(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(patience)
	p.path.goSilent()
	start := time.Now()
	p.remote.waits(noticed, lostAtRemote, 1)
	t.Logf("the remote noticed after %v", time.Since(start))
	p.relay.waits(noticed-time.Since(start), lostAtRelay, 1)
	t.Logf("the relay noticed after %v", time.Since(start))
	p.answers(serving)
}
