package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/remote"
)

// TestStorm has many remotes lose their relay at once, twice: first the path to
// it breaks, while visitors of another name are served, then the relay itself is
// stopped for a while. All must be back within 30 s, spread out. The remotes run
// in a process of low priority, in the place of the processors of so many
// devices.
func TestStorm(t *testing.T) {
	remotes := 300
	switch {
	case soaking():
		remotes = 2000
	case raceEnabled: // both ends and all remotes share the processors
		remotes = 100
	}
	r := startPathRelay(t)
	dir := t.TempDir()
	r.stop()
	r.start(r.addr, dir)
	r.serve("calm."+pathZone, "", mirror)
	cut := startCrowd(t, r, remotes)
	eventually(t, 2*time.Minute, "all remotes up", func() bool { return r.log.count("name is up") > remotes })

	stop, stormed := make(chan struct{}), make(chan [2]time.Duration, 1)
	calm := visits(t, r, "calm."+pathZone, nil, 3*time.Second)
	up := r.log.count("name is up")
	go func() { stormed <- visits(t, r, "calm."+pathZone, stop, 0) }()
	cut()
	start := time.Now()
	eventually(t, 30*time.Second, "all remotes back after their path broke", func() bool {
		return r.log.count("name is up") >= up+remotes
	})
	took := time.Since(start)
	close(stop)
	storm := <-stormed
	t.Logf("%d remotes back %v after their path broke; visitors of another name meanwhile: median %v, p99 %v; before: %v, %v",
		remotes, took.Round(time.Millisecond), storm[0], storm[1], calm[0], calm[1])
	if storm[1] > 100*calm[1]+time.Second {
		t.Errorf("visitors of another name waited %v", storm[1])
	}

	r.stop()
	<-time.After(3 * time.Second) // so that the pauses grow
	up = r.log.count("name is up")
	r.start(r.addr, dir)
	start = time.Now()
	var half time.Duration
	eventually(t, 30*time.Second, "all remotes back after the relay's restart", func() bool {
		n := r.log.count("name is up") - up
		if half == 0 && n >= remotes/2 {
			half = time.Since(start)
		}
		return n >= remotes+1
	})
	t.Logf("half of them back %v after the relay's restart, all after %v", half.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
}

// startCrowd starts the process with the remotes. The function it returns
// breaks all their links.
func startCrowd(t *testing.T, r *pathRelay, n int) (cut func()) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, r.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := r.ca.Files(dir, "*."+pathZone)
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrowd$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), "KEYSTAY_CROWD="+strconv.Itoa(n), "KEYSTAY_CROWD_VIA="+r.addr,
		"KEYSTAY_CROWD_ROOT="+root, "KEYSTAY_CROWD_CERT="+cert, "KEYSTAY_CROWD_KEY="+key)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return func() { fmt.Fprintln(in, "cut") }
}

// TestCrowd is the process with the remotes. Each line that it reads breaks all
// links; the end of its input ends it.
func TestCrowd(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("KEYSTAY_CROWD"))
	if n == 0 {
		t.Skip("is started by TestStorm")
	}
	syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19)
	pem, err := os.ReadFile(os.Getenv("KEYSTAY_CROWD_ROOT"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	cert, err := tls.LoadX509KeyPair(os.Getenv("KEYSTAY_CROWD_CERT"), os.Getenv("KEYSTAY_CROWD_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	path := startRough(t, os.Getenv("KEYSTAY_CROWD_VIA"))
	var all []*remote.Listener
	for i := range n {
		ln, err := remote.Listen(remote.Config{
			Domain: fmt.Sprintf("r%d.%s", i, pathZone), Relays: []string{pathZone}, RelayAddresses: []string{path.addr}, Links: 1, RelayRoots: roots,
			StateDir: t.TempDir(), TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ln)
		go func() {
			for {
				if _, err := ln.Accept(); err != nil {
					return
				}
			}
		}()
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		path.cut()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var wg sync.WaitGroup
	for _, ln := range all {
		wg.Go(func() { ln.Shutdown(ctx) })
	}
	wg.Wait()
}

// visits makes visits to a name, one after the other, until stop is closed or
// for d, and returns the median and the 99th percentile of how long each took.
func visits(t *testing.T, r *pathRelay, name string, stop chan struct{}, d time.Duration) (p [2]time.Duration) {
	var end <-chan time.Time
	if d > 0 {
		end = time.After(d)
	}
	var all []time.Duration
	for {
		select {
		case <-stop:
		case <-end:
		default:
			start := time.Now()
			if err := visitOnce(r, name); err != nil {
				t.Errorf("a visit: %v", err)
				return p
			}
			all = append(all, time.Since(start))
			continue
		}
		slices.Sort(all)
		return [2]time.Duration{all[len(all)/2], all[len(all)*99/100]}
	}
}

// visitOnce sends a few bytes on a new connection and has them echoed.
func visitOnce(r *pathRelay, name string) error {
	c, _, err := r.visit(name, "")
	if err != nil {
		return err
	}
	defer c.Close()
	return roundTrip(c)
}

// roundTrip has a few bytes echoed.
func roundTrip(c *tls.Conn) error {
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// TestHandshakeFlood has thousands begin a TLS handshake for the relay's own
// name at once, at no cost for themselves. Visitors are served as before, and a
// remote gets its turn.
func TestHandshakeFlood(t *testing.T) {
	flood := 3000
	if raceEnabled {
		flood = 500
	}
	r := startPathRelay(t)
	r.serve("calm."+pathZone, "", mirror)
	calm := visits(t, r, "calm."+pathZone, nil, 2*time.Second)
	hello := recordedHello(t, r, pathZone)
	conns := make([]net.Conn, flood)
	for i := range conns {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	stop, flooded := make(chan struct{}), make(chan [2]time.Duration, 1)
	go func() { flooded <- visits(t, r, "calm."+pathZone, stop, 0) }()
	start := time.Now()
	for _, c := range conns {
		c.Write(hello)
	}
	up := r.log.count("name is up")
	r.serve("new."+pathZone, "", mirror)
	eventually(t, patience, "a remote up beside the flood", func() bool { return r.log.count("name is up") > up })
	took := time.Since(start)
	for _, c := range conns { // each got its ServerHello
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatalf("a handshake was not answered: %v", err)
		}
	}
	all := time.Since(start)
	close(stop)
	p := <-flooded
	t.Logf("%d handshakes answered in %v, a remote up after %v; visitors meanwhile: median %v, p99 %v; before: %v, %v",
		flood, all.Round(time.Millisecond), took.Round(time.Millisecond), p[0], p[1], calm[0], calm[1])
	if p[1] > 50*calm[1]+time.Second {
		t.Errorf("visitors waited %v", p[1])
	}
}

// recordedHello is a ClientHello for a name.
func recordedHello(t *testing.T, r *pathRelay, name string) []byte {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Client(a, &tls.Config{ServerName: name}).Handshake()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
