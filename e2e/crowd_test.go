package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/acme"
	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/remote"
)

// A crowd is many remotes in a process of low priority, in the place of the
// processors of so many devices. Their names are r0, r1 and so on below the
// relay's. Each sends bytes without end to every visitor.
type crowd struct {
	ca      *testca.CA
	via     string // the relay's address
	remotes int
	links   int  // of each; 0 means 1
	direct  bool // nothing stands between them and the relay that cut could break

	// ordered is a file that is written when a remote begins to order a
	// certificate, which none needs; empty means that all have brought theirs.
	ordered string
}

// ofCrowd guards against waiting for ever for what a crowd does.
const ofCrowd = 8 * time.Minute

// startCrowd starts the process. The function it returns breaks all links.
func startCrowd(t *testing.T, c crowd) (cut func()) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, c.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := c.ca.Files(dir, "*."+pathZone)
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrowd$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), "KEYSTAY_CROWD="+strconv.Itoa(c.remotes), "KEYSTAY_CROWD_VIA="+c.via,
		"KEYSTAY_CROWD_LINKS="+strconv.Itoa(max(1, c.links)), "KEYSTAY_CROWD_ORDERED="+c.ordered,
		"KEYSTAY_CROWD_DIRECT="+strconv.FormatBool(c.direct),
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
		t.Skip("no test by itself: other tests start it as a process, with KEYSTAY_CROWD set")
	}
	syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10) // lower, and yet served on a busy machine
	pem, err := os.ReadFile(os.Getenv("KEYSTAY_CROWD_ROOT"))
	if err != nil {
		t.Fatal(err)
	}
	config := remote.Config{Relays: []string{pathZone}, RelayRoots: x509.NewCertPool()}
	config.RelayRoots.AppendCertsFromPEM(pem)
	config.Links, _ = strconv.Atoi(os.Getenv("KEYSTAY_CROWD_LINKS"))
	cut := func() {}
	config.RelayAddresses = []string{os.Getenv("KEYSTAY_CROWD_VIA")}
	if os.Getenv("KEYSTAY_CROWD_DIRECT") != "true" {
		path := world.StartProxy(t, config.RelayAddresses[0])
		config.RelayAddresses[0], cut = path.Addr, path.Cut
	}
	var all []*remote.Listener
	for i := range n {
		config.Domain, config.StateDir = fmt.Sprintf("r%d.%s", i, pathZone), t.TempDir()
		if err := certify(&config); err != nil {
			t.Fatal(err)
		}
		ln, err := remote.Listen(config)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ln)
		go serveEndless(ln)
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		cut()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var wg sync.WaitGroup
	for _, ln := range all {
		wg.Go(func() { ln.Shutdown(ctx) })
	}
	wg.Wait()
}

// certify gives a remote of the crowd its certificate: brought along, or kept
// by ACME from an earlier order at a CA that nobody can reach.
func certify(config *remote.Config) error {
	certFile, keyFile := os.Getenv("KEYSTAY_CROWD_CERT"), os.Getenv("KEYSTAY_CROWD_KEY")
	ordered := os.Getenv("KEYSTAY_CROWD_ORDERED")
	if ordered == "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		config.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		return err
	}
	config.ACME = acme.Config{CA: "https://127.0.0.1/dir", Notify: func(e acme.Event) {
		if e.Kind == acme.Ordering {
			_ = os.WriteFile(ordered, []byte(e.Name+": "+e.Why+"\n"), 0o600)
		}
	}}
	dir := filepath.Join(config.StateDir, "acme/certificates/127.0.0.1-dir", config.Domain)
	err := os.MkdirAll(dir, 0o700)
	for from, to := range map[string]string{certFile: ".crt", keyFile: ".key"} {
		b, rerr := os.ReadFile(from)
		err = errors.Join(err, rerr, os.WriteFile(filepath.Join(dir, config.Domain+to), b, 0o600))
	}
	return err
}

// serveEndless sends bytes without end to every visitor of ln.
func serveEndless(ln *remote.Listener) {
	b := make([]byte, 16<<10)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for err := error(nil); err == nil; {
				_, err = c.Write(b)
			}
		}()
	}
}
