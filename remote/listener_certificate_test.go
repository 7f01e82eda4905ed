package remote_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"keystay/acme"
	"keystay/framing"
	"keystay/remote"
)

// Without a CA the name is claimed, nothing is served, and Wait says what is
// missing.
func TestNameIsClaimedWithoutACA(t *testing.T) {
	r := newRelay(t)
	closed := newRelay(t)
	closed.close()
	events := make(chan acme.Event, 64)
	cfg := r.config()
	cfg.TLS = nil
	cfg.ACME = acme.Config{CA: "https://" + closed.addr + "/dir", Roots: r.ca.Pool(), Notify: func(e acme.Event) { events <- e }}
	ln := r.listen(cfg)
	link := r.next()
	for e := range events {
		if e.Kind == acme.Failed {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ln.Wait(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("Wait: %v", err)
	}

	// The CA's HTTP-01 question is answered by the device, if only with no.
	s := link.open(domain, framing.KindHTTP01)
	fmt.Fprintf(s, "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", domain)
	resp, err := http.ReadResponse(bufio.NewReader(s), nil)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("challenge: %v, %v", resp, err)
	}
	end(ln)
}

func TestBadACMEConfigLeavesTheNameFree(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.TLS = nil
	cfg.ACME.CA = "http://ca.test"
	if _, err := remote.Listen(cfg); err == nil {
		t.Error("a CA without TLS")
	}
	cfg.ACME.CA = "" // the name is not locked any more
	cfg.TLS = r.config().TLS
	r.listen(cfg)
}
