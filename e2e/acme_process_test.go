//go:build linux

package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
)

// nobody is an ordinary user.
const nobody = 65534

// TestOpensNoPort looks at the sockets while validations are under way, as
// whoever runs it and, if that is root, as an ordinary user too.
func TestOpensNoPort(t *testing.T) {
	for _, http01 := range []bool{false, true} {
		p := startPebble(t, pebble.Options{})
		var mu sync.Mutex
		var looks [][]string
		look := func() {
			l, err := listeningSockets(os.Getpid())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				l = []string{err.Error()}
			}
			looks = append(looks, l)
		}
		d := newDevice(t, p, t.TempDir(), func(c *acme.Config) {
			c.NoTLSALPN01, c.NoHTTP01 = http01, !http01
			notify := c.Notify
			c.Notify = func(ev acme.Event) { look(); notify(ev) }
		})
		d.mu.Lock()
		d.validating = look
		d.mu.Unlock()
		before, err := listeningSockets(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		d.manage(t, devName)
		d.wait(t, devName)
		d.event(t, acme.Obtained)
		mu.Lock()
		if len(looks) < 2 || !http01 && len(looks) < 3 {
			t.Errorf("looked %d times only", len(looks))
		}
		for _, l := range looks {
			if !slices.Equal(l, before) {
				t.Errorf("as user %d: sockets %v, before %v", os.Getuid(), l, before)
			}
		}
		mu.Unlock()
		d.Close()
	}
	if os.Getuid() == 0 {
		asNobody(t, "^TestOpensNoPort$")
	}
}

// asNobody runs tests of this binary again as an ordinary user.
func asNobody(t *testing.T, run string) {
	t.Helper()
	// Both the binary and the folder for files must be within its reach.
	dir, err := os.MkdirTemp("", "keystay-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "test")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, bin, "/proc/self/exe")
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-test.run="+run, "-test.v")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("as user %d: %v\n%s", nobody, err, out)
	}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKilledInAnOrder kills a process in the middle of an order: the next one
// must not wait for its locks.
func TestKilledInAnOrder(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("KEYSTAY_TEST_ORDER_DIR"); dir != "" {
		orderUntilKilled(t, dir)
		return
	}
	ordered := make(chan struct{}, 10)
	p := startPebble(t, pebble.Options{OnOrder: func(pebble.Order) { ordered <- struct{}{} }})
	p.SetDelay(300 * time.Millisecond) // an order then takes seconds
	dir := t.TempDir()
	root, err := p.APIRootFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledInAnOrder$")
	cmd.Env = append(os.Environ(), "KEYSTAY_TEST_ORDER_DIR="+dir,
		"KEYSTAY_TEST_CA="+p.DirectoryURL(), "KEYSTAY_TEST_ROOT="+root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ordered:
	case <-time.After(world.Patience):
		t.Error("the other process did not order")
	}
	cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || len(p.Orders()) != 1 {
		t.Fatalf("the process was not killed in its order: %v, %d orders", err, len(p.Orders()))
	}
	p.SetDelay(0)

	d := newDevice(t, p, dir, nil)
	d.manage(t, devName)
	d.wait(t, devName) // the lock of a process that was killed is free
	if n := p.Accounts(); n != 1 {
		t.Errorf("%d accounts", n)
	}
}

// orderUntilKilled is the process to be killed.
func orderUntilKilled(t *testing.T, dir string) {
	pem, err := os.ReadFile(os.Getenv("KEYSTAY_TEST_ROOT"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := acme.New(acme.Config{
		Dir:   dir,
		CA:    os.Getenv("KEYSTAY_TEST_CA"),
		Roots: pool(pem),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Manage(devName); err != nil {
		t.Fatal(err)
	}
	select {}
}
