//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"keystay/config"
	"keystay/internal/testca"
)

// started opens cfg and serves, and returns what the service manager is told
// first and the log at the end.
func started(t *testing.T, cfg config.Relay) (told string, log string) {
	t.Helper()
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	cfg.StateDir = filepath.Join(dir, "state")
	cfg.Domain, cfg.Listen = "relay.test", []string{"127.0.0.1:0"}
	var out bytes.Buffer
	p := &process{cfg: &cfg, log: slog.New(slog.NewTextHandler(&out, nil)), failed: make(chan error, 1)}
	defer func() { log = out.String() }() // when nobody writes any more
	defer p.close(nil)
	if err := errors.Join(p.open(false), p.serve()); err != nil {
		t.Fatal(err)
	}
	manager.SetReadDeadline(time.Now().Add(time.Minute)) // guards against hanging
	b := make([]byte, 1<<10)
	n, err := manager.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), ""
}

// The relay says that it is ready, where it is and who may take a name, to the
// log and to the service manager, when it has a certificate.
func TestReadyIsToldWithACertificate(t *testing.T) {
	cert, key := testca.New(t).Files(t.TempDir(), "relay.test")
	told, log := started(t, config.Relay{TLS: config.TLS{CertFile: cert, KeyFile: key}, Names: config.Names{Policy: "token"}})
	if !regexp.MustCompile(`^READY=1\nSTATUS=https://relay\.test:\d+/ is ready$`).MatchString(told) {
		t.Errorf("the service manager is told %q", told)
	}
	if !regexp.MustCompile(`msg=ready at=https://relay\.test:\d+/ names="whoever has a token may take one below relay\.test" certificate_until=\d{4}-\d\d-\d\d`).MatchString(log) {
		t.Errorf("the log:\n%s", log)
	}
}

// Without one it is not ready, and says what is missing.
func TestReadyIsNotToldWithoutACertificate(t *testing.T) {
	told, log := started(t, config.Relay{ACME: config.ACME{CA: "https://127.0.0.1:1/directory"}})
	if told != "STATUS=No certificate for relay.test yet" {
		t.Errorf("the service manager is told %q", told)
	}
	if !strings.Contains(log, `msg="no certificate yet: remotes and browsers can come once it is there" name=relay.test`) || strings.Contains(log, "msg=ready") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestScreenShowsWhereTheRelayIs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	a := announcement{url: "https://relay.test/", names: "anyone may take one below relay.test", until: "2027-02-26", renewed: true,
		sockets: []socket{{what: "public", ln: ln}, {what: "admin", ln: ln}}, drain: 30 * time.Second}
	var b strings.Builder
	a.screen(&b)
	want := `
https://relay.test/ is ready

  Names         anyone may take one below relay.test
  Certificate   until 2027-02-26, renewed by itself
  Visitors      ` + addr + `
  Metrics       ` + addr + `
  To stop       Ctrl-C: visitors may finish for 30s, a second Ctrl-C cuts them off

`
	if b.String() != want {
		t.Errorf("got %s\nwant %s", b.String(), want)
	}
}

// Nothing that does not print gets to the terminal, such as from the path of a
// socket that the relay was given.
func TestScreenShowsNothingThatDoesNotPrint(t *testing.T) {
	const owned = "\x1b]0;owned\a\u202e\u009b\n"
	var out bytes.Buffer
	announcement{url: "https://" + owned, names: owned, until: owned}.screen(&out)
	if n := strings.Count(out.String(), "]0;owned"); n != 3 {
		t.Errorf("%d of 3 texts are shown: %q", n, out.String())
	}
	for _, c := range out.String() {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Errorf("%q in %q", c, out.String())
		}
	}
}

// A certificate that others will refuse leaves the relay not ready.
func TestNotReadyWithACertificateThatIsRefused(t *testing.T) {
	cert, key := testca.New(t).Files(t.TempDir(), "other.test")
	synctest.Test(t, func(t *testing.T) {
		c, err := newOwnCert(&config.Relay{Domain: "relay.test", TLS: config.TLS{CertFile: cert, KeyFile: key}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ready(); err == nil || !strings.Contains(err.Error(), "other.test, not relay.test") {
			t.Errorf("ready: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if cert, err := c.wait(ctx); cert != nil || err == nil || ctx.Err() == nil {
			t.Errorf("a certificate for another name is given as ready: %v", err)
		}
	})
}
