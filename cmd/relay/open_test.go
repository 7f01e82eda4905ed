//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/config"
	"keystay/internal/handover"
	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/relay/names"
)

// opened makes a process and opens and closes it as run does. It returns what
// open returned, and the log.
func opened(t *testing.T, cfg *config.Relay, takeover bool) (error, string) {
	t.Helper()
	var log bytes.Buffer
	p := &process{cfg: cfg, log: slog.New(slog.NewTextHandler(&log, nil)), failed: make(chan error, 1)}
	err := p.open(takeover)
	p.close(err)
	return err, log.String()
}

// Whichever step of the start fails, the process says so and ends: what the
// steps after it would have made is not there when it is closed.
func TestEachStepOfTheStartMayFail(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mkdir := func(name string) {
		t.Helper()
		if err := os.MkdirAll(in(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("file", "")
	mkdir("names/names.db")
	mkdir("acme")
	write("acme/acme", "")
	mkdir("free")
	mkdir("linked")
	if err := os.Symlink("/nowhere/names.db", in("linked/names.db")); err != nil {
		t.Fatal(err)
	}
	cert, key := testca.New(t).Files(t.TempDir(), "relay.test")
	write("no.pem", "nothing")
	used, err := names.OpenGrants(in("used"))
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()

	files := config.TLS{CertFile: cert, KeyFile: key}
	for name, c := range map[string]struct {
		cfg      config.Relay
		takeover bool
		want     error        // nil where only the text is known
		text     string       // part of the text
		hint     *hint.Advice // nil where none is given
	}{
		"state_dir is a file": {config.Relay{StateDir: in("file")}, false, syscall.ENOTDIR, "make state_dir: mkdir " + in("file"), hint.StatePlace},
		"the same with a certificate from files": {config.Relay{StateDir: in("file"), TLS: files}, false,
			syscall.ENOTDIR, "make state_dir: mkdir " + in("file"), hint.StatePlace},
		"state_dir below a file":          {config.Relay{StateDir: in("file/state")}, false, syscall.ENOTDIR, "make state_dir: mkdir " + in("file"), hint.StatePlace},
		"no folder can be there":          {config.Relay{StateDir: "/proc/keystay"}, false, os.ErrNotExist, "/proc/keystay", hint.StatePlace},
		"a name that is too long":         {config.Relay{StateDir: in(strings.Repeat("x", 300))}, false, syscall.ENAMETOOLONG, "xxx", hint.StatePlace},
		"the folder of ACME is none":      {config.Relay{StateDir: in("acme")}, false, syscall.ENOTDIR, "acme", hint.StatePlace},
		"the record is a link to nothing": {config.Relay{StateDir: in("linked"), TLS: files}, false, nil, "names.db is a symbolic link to /nowhere", hint.LinkDangles},
		"the record is a folder":          {config.Relay{StateDir: in("names"), TLS: files}, false, nil, "names.db", hint.RecordNoFile},
		"another relay has it":            {config.Relay{StateDir: in("used"), TLS: files}, false, names.ErrInUse, "names.db", hint.StateInUse},
		"no relay to take over from":      {config.Relay{StateDir: in("free"), TLS: files}, true, handover.ErrNoneRunning, "take over", hint.NoTakeover},
		"a certificate that is none":      {config.Relay{StateDir: in("free"), TLS: config.TLS{CertFile: in("no.pem"), KeyFile: key}}, false, nil, "no.pem", hint.NoPair},
		"a root that is none":             {config.Relay{StateDir: in("free"), ACME: config.ACME{CARoot: in("no.pem")}}, false, nil, "no.pem", nil},
		"a root that cannot be read":      {config.Relay{StateDir: in("free"), ACME: config.ACME{CARoot: in("gone.pem")}}, false, os.ErrNotExist, "gone.pem", nil},
		"an address that is in use":       {config.Relay{StateDir: in("free"), TLS: files, Listen: []string{ln.Addr().String()}}, false, syscall.EADDRINUSE, "listen for public", hint.PortInUse},
		"an address of somebody else":     {config.Relay{StateDir: in("free"), TLS: files, Listen: []string{"192.0.2.1:0"}}, false, syscall.EADDRNOTAVAIL, "192.0.2.1", hint.AddressElsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Domain = "relay.test"
			err, _ := opened(t, &c.cfg, c.takeover)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			hints := hint.All(err)
			if c.hint == nil {
				return
			}
			begin, _, _ := strings.Cut(c.hint.Do[0][:10], "FILE") // which stands for a file's name
			begin, _, _ = strings.Cut(begin, "TARGE")
			if len(hints) != len(c.hint.Do) || !strings.HasPrefix(hints[0], begin) {
				t.Errorf("%v\nhints %q, want those of %q", err, hints, c.hint.Shown)
			}
			for _, h := range hints {
				if strings.Contains(h, "DIR") || strings.Contains(h, "KEY") {
					t.Errorf("a place is left in the hint %q", h)
				}
			}
		})
	}
}

// Whoever may not write the folder is told which one, and the other ways.
func TestStateDirThatMayNotBeWritten(t *testing.T) {
	for _, e := range []error{syscall.EACCES, syscall.EPERM} {
		err := stateError("/state", &os.PathError{Op: "mkdir", Path: "/state", Err: e})
		if h := hint.All(err); len(h) != 2 || h[0] != "make /state writable for the user who runs the relay" {
			t.Errorf("%v: hints %q", e, h)
		}
	}
	fixed := stateError("/state", fmt.Errorf("open: %w", &os.PathError{Op: "open", Path: "/state/names.db", Err: syscall.EROFS}))
	if h := hint.All(fixed); len(h) != 1 || h[0] != "/state cannot be written, whatever its mode: choose another folder with --state-dir" {
		t.Errorf("read-only: hints %q", h)
	}
	full := stateError("/state", &os.PathError{Op: "open", Path: "/state/names.db", Err: syscall.ENOSPC})
	if h := hint.All(full); len(h) != 1 || h[0] != "the disk of /state is full: make room there" {
		t.Errorf("hints %q", h)
	}
}

// A state_dir that others get into is told, with what to do.
func TestStateDirThatIsOpenIsTold(t *testing.T) {
	cert, key := testca.New(t).Files(t.TempDir(), "relay.test")
	for mode, warns := range map[os.FileMode]bool{0o700: false, 0o777: true} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		err, log := opened(t, &config.Relay{Domain: "relay.test", StateDir: dir, TLS: config.TLS{CertFile: cert, KeyFile: key}}, false)
		told := strings.Contains(log, "level=WARN msg=\"every user of this machine can get into "+dir) && strings.Contains(log, "chmod 700 "+dir)
		if err != nil || told != warns {
			t.Errorf("%v: %v\n%s", mode, err, log)
		}
	}
}

// A process that was killed while it wrote a key has left the key behind: a later start removes
// it, and not what another process may be writing now.
func TestStartRemovesKeysThatWereLeft(t *testing.T) {
	cert, key := testca.New(t).Files(t.TempDir(), "relay.test")
	dir := t.TempDir()
	day := time.Now().Add(-24 * time.Hour)
	there := make(map[string]bool)
	for name, at := range map[string]time.Time{
		"acme/certificates/ca/.new-relay.test.key-1": day, "acme/certificates/ca/.new-relay.test.key-2": time.Now(), "acme/certificates/ca/relay.test.key": day,
		"cluster/.new-ca.key-3": day, "cluster/.new-ca.key-4": time.Now(), "cluster/ca.key": day,
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
		there[file] = at != day || !strings.Contains(name, ".new-")
	}
	if err, _ := opened(t, &config.Relay{Domain: "relay.test", StateDir: dir, TLS: config.TLS{CertFile: cert, KeyFile: key}}, false); err != nil {
		t.Fatal(err)
	}
	for file, want := range there {
		if _, err := os.Stat(file); (err == nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Without a control socket the relay runs, and says which takeovers will not
// work, why, and what to do.
func TestNoControlSocket(t *testing.T) {
	cert, key := testca.New(t).Files(t.TempDir(), "relay.test")
	base := t.TempDir()
	inTheWay := filepath.Join(base, "way")
	if err := os.MkdirAll(filepath.Join(inTheWay, "relay.sock", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		filepath.Join(base, strings.Repeat("l", 120)): "choose a state_dir with a shorter path",
		inTheWay: "take away what is in its place",
	} {
		err, log := opened(t, &config.Relay{Domain: "relay.test", StateDir: dir, TLS: config.TLS{CertFile: cert, KeyFile: key}}, false)
		if err != nil || !strings.Contains(log, "there is no control socket") || !strings.Contains(log, want) {
			t.Errorf("%v\n%s", err, log)
		}
	}
}

// A start that is given up before anything was opened leaves nothing to close.
func TestCloseBeforeOpen(t *testing.T) {
	p := &process{cfg: &config.Relay{}, log: slog.New(slog.DiscardHandler), failed: make(chan error, 1)}
	p.close(context.Canceled)
}
