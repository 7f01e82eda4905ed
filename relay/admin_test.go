package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/memconn"
	"keystay/relay"
)

// On an address that only this machine reaches, a name that leads there by somebody
// else's DNS gets nothing; this machine's own names and addresses do.
func TestAdminAnswersNoForeignName(t *testing.T) {
	r := newRig(t, nil)
	ln := listenTCP(t)
	done := make(chan error, 1)
	go func() { done <- r.srv.ServeAdmin(ln, func() error { return nil }) }()
	for host, want := range map[string]int{
		"localhost:9440": 200, "LOCALHOST.": 200, "127.0.0.1:9440": 200, "[::1]:9440": 200, "192.0.2.1": 200, "": 200,
		"evil.example": 421, "evil.example:9440": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:9440": 421, "relay.test": 421,
	} {
		req, _ := http.NewRequest("GET", "http://"+ln.Addr().String()+"/healthz", nil)
		req.Host = host
		if host == "" {
			req.Host = "localhost" // net/http would take the URL's
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("Host %q: %d, want %d", host, res.StatusCode, want)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	r.close()
	<-done
}

// The page is asked by this machine's names, by addresses and by the names that were
// allowed, wherever it listens.
func TestAdminPageAnswersNoForeignName(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.AdminHosts = []string{"ops.example"}
		s.AdminPage = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the page") })
	})
	ln := memconn.Listen(nil)
	done := make(chan error, 1)
	go func() { done <- r.srv.ServeAdmin(ln, func() error { return nil }) }()
	for host, want := range map[string]int{"localhost:9440": 200, "192.0.2.1:9440": 200, "ops.example": 200, "OPS.example.:9440": 200, "evil.example": 421, "relay.test": 421, "x.ops.example": 421} {
		c, err := ln.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != want {
			t.Errorf("Host %q: %v, %v, want %d", host, res, err, want)
		}
		c.Close()
	}
	r.close()
	<-done
}

// On any other address the operator decides what leads there.
func TestAdminElsewhereAnswersAnyName(t *testing.T) {
	r := newRig(t, nil)
	ln := memconn.Listen(nil)
	done := make(chan error, 1)
	go func() { done <- r.srv.ServeAdmin(ln, func() error { return nil }) }()
	c, err := ln.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: metrics.example\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("%v, %v", res, err)
	}
	c.Close()
	r.close()
	<-done
}

// A record of names that is damaged while the relay runs is no reason to stop, but
// it is not ready any more, and says why and what to do.
func TestDamagedRecordIsNotReady(t *testing.T) {
	for what, damage := range map[string]func(file string) error{
		"cut short": func(file string) error { return os.Truncate(file, 4096) },
		"empty":     func(file string) error { return os.Truncate(file, 0) },
		"gone":      os.Remove,
		"another file": func(file string) error {
			b, err := os.ReadFile(file)
			return errors.Join(err, os.Remove(file), os.WriteFile(file, b, 0o600))
		},
		"overwritten": func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte{0xff}, 1<<16), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			ln := listenTCP(t)
			done := make(chan error, 1)
			go func() { done <- r.srv.ServeAdmin(ln, func() error { return nil }) }()
			tr := &http.Transport{DisableKeepAlives: true}
			get := func() (*http.Response, string) {
				req, _ := http.NewRequest("GET", "http://"+ln.Addr().String()+"/readyz", nil)
				return r.do(tr, req)
			}
			if res, text := get(); res.StatusCode != 200 || text != "ok\n" {
				t.Errorf("before: %s %q", res.Status, text)
			}
			file := filepath.Join(r.dir, "names.db")
			if err := damage(file); err != nil {
				t.Fatal(err)
			}
			res, text := get()
			if res.StatusCode != 503 || !strings.HasPrefix(text, "the record of names is damaged: ") || !strings.Contains(text, "\nhint: stop the relay, put a backup in the place of "+file) {
				t.Errorf("after: %s %q", res.Status, text)
			}
			r.close()
			<-done
		})
	}
}
