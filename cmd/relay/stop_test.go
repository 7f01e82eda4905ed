//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keystay/config"
	"keystay/internal/testca"
)

// A memory that is not there is warned of, with what to do.
func TestMemoryThatIsNotThereIsWarnedOf(t *testing.T) {
	for memory, warns := range map[int64]bool{0: false, config.MinMemory: false, 100 << 40: true} {
		var out bytes.Buffer
		p := &process{cfg: &config.Relay{Memory: memory}, log: slog.New(slog.NewTextHandler(&out, nil))}
		if got := p.memory(); memory != 0 && got != memory || got == 0 {
			t.Errorf("%d: %d", memory, got)
		}
		log := out.String()
		if strings.Contains(log, "level=WARN") != warns || warns && (!strings.Contains(log, "memory is 104857600 MiB, and this process may have ") || !strings.Contains(log, "hint=")) {
			t.Errorf("%d: %s", memory, log)
		}
	}
}

// The service manager, which has a limit of its own for a stop, hears how long it
// may take.
func TestStopTellsTheServiceManagerHowLongItMayTake(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	cert, key := testca.New(t).Files(dir, "relay.test")
	cfg := config.Relay{Domain: "relay.test", Listen: []string{"127.0.0.1:0"}, StateDir: filepath.Join(dir, "state"),
		TLS: config.TLS{CertFile: cert, KeyFile: key}, DrainTimeout: time.Hour}
	p := &process{cfg: &cfg, log: slog.New(slog.DiscardHandler), failed: make(chan error, 1)}
	defer p.close(nil)
	if err := errors.Join(p.open(false), p.serve()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	if err := p.drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	manager.SetReadDeadline(time.Now().Add(time.Minute)) // guards against hanging
	b := make([]byte, 1<<10)
	for {
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if told := string(b[:n]); strings.HasPrefix(told, "STOPPING=1") {
			if told != "STOPPING=1\nEXTEND_TIMEOUT_USEC=3610000000" {
				t.Errorf("told %q", told)
			}
			return
		}
	}
}
