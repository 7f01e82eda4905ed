package domainproof_test

import (
	"fmt"
	"net/netip"
	"testing"

	"keystay/internal/domainproof"
)

func TestHTTPSRecordsAreFollowedAsBrowsersDo(t *testing.T) {
	s := newServer(t,
		"port.example. 60 IN HTTPS 1 . port=4443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
		"_8443._https.port.example. 60 IN HTTPS 1 other.example. alpn=h2",
		"alias.example. 60 IN HTTPS 0 end.example.",
		"to.example. 60 IN HTTPS 0 port.example.",
		"round.example. 60 IN HTTPS 0 round.example.",
		"cname.example. 60 IN CNAME port.example.",
		"gone.example. 60 IN HTTPS 0 .",
	)
	r := &domainproof.Resolver{Servers: []netip.AddrPort{s.addr}}
	for name, want := range map[string]string{
		"port.example":  "[{port.example 4443 [192.0.2.1 2001:db8::1]}]",
		"alias.example": "[{end.example 443 []}]",
		"to.example":    "[{port.example 4443 [192.0.2.1 2001:db8::1]}]",
		"cname.example": "[{port.example 4443 [192.0.2.1 2001:db8::1]}]",
		"gone.example":  "[]",
		"none.example":  "[]",
	} {
		if got, err := r.Services(t.Context(), name, 443); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s (%v)", name, got, want, err)
		}
	}
	if got, err := r.Services(t.Context(), "port.example", 8443); err != nil || fmt.Sprint(got) != "[{other.example 8443 []}]" {
		t.Errorf("at 8443: %v (%v)", got, err)
	}
	if got, err := r.Services(t.Context(), "round.example", 443); err == nil {
		t.Errorf("in a circle: %v", got)
	}
}
