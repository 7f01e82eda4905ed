package relay_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// A domainRecord is what DNS says of every domain.
type domainRecord struct {
	mu    sync.Mutex
	says  names.Evidence
	fails error
	asked int
}

func (d *domainRecord) prove(context.Context, names.Claimant) (names.Evidence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.says, d.fails
}

// name makes DNS name these devices.
func (d *domainRecord) name(ids ...identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.says = nil
	for _, id := range ids {
		d.says = append(d.says, names.Mention{Label: keyname.Label(id.key.Public().(ed25519.PublicKey), ""), Via: "txt"})
	}
}

const customDomain = "app.example.test"

// Visitors of a custom domain reach the device that DNS names, and so does a CA's
// question on port 80. The relay's page says that there are such domains.
func TestCustomDomain(t *testing.T) {
	var dns domainRecord
	r := newRig(t, func(s *relay.Server) { s.Names.Prove = dns.prove })
	get, _ := r.plain()
	id := newIdentity(t)
	d := r.device(id)
	claim := framing.Claim{Name: customDomain}
	err := d.Claim(t.Context(), claim)
	denied(t, err, framing.DeniedUnproven)
	var denial *framing.Denial
	if errors.As(err, &denial); denial.Retry <= 0 || denial.Permanent() || !strings.Contains(denial.Hint, "remote dns "+customDomain+" --relay "+zone) {
		t.Errorf("told: %+v", denial)
	}
	r.refused(customDomain, unrecognizedName)
	dns.name(id)
	if err := d.Claim(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	d.serve(func(s *framing.Stream) {
		defer s.Close()
		if s.Header().Kind != framing.KindHTTP01 {
			s.Write([]byte("device:"))
			io.Copy(s, s)
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(s))
		if err != nil || req.Host != customDomain {
			t.Errorf("%+v, %v", req, err)
		}
		fmt.Fprint(s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nkey")
	})
	r.reaches(customDomain, "device")
	if resp, body := get(customDomain, "/.well-known/acme-challenge/x"); resp.StatusCode != 200 || body != "key" {
		t.Errorf("the CA gets %s %q", resp.Status, body)
	}
	if resp, _ := get(customDomain, "/a"); resp.Header.Get("Location") != "https://"+customDomain+r.port()+"/a" {
		t.Errorf("a browser is sent to %q", resp.Header.Get("Location"))
	}
	if _, body := r.get(zone, "/.well-known/keystay.json"); !strings.Contains(body, `"custom_domains":true`) {
		t.Errorf("the relay says %s", body)
	}
	r.srv.Names.SetRules(names.Rules{NoDomains: true})
	if _, body := r.get(zone, "/.well-known/keystay.json"); !strings.Contains(body, `"custom_domains":false`) {
		t.Errorf("the relay says %s", body)
	}
}

// port is what URLs have behind the name.
func (r *rig) port() string { return r.public[strings.LastIndexByte(r.public, ':'):] }

// A domain whose record is another device's is that one's at once, and the device
// that had it is told.
func TestCustomDomainMoves(t *testing.T) {
	var dns domainRecord
	r := newRig(t, func(s *relay.Server) { s.Names.Prove = dns.prove })
	a, b := newIdentity(t), newIdentity(t)
	dns.name(a)
	old := r.device(a, customDomain).echo("old")
	r.reaches(customDomain, "old")
	dns.name(a, b)
	next := r.device(b)
	denied(t, next.Claim(t.Context(), framing.Claim{Name: customDomain}), framing.DeniedUnproven)
	r.reaches(customDomain, "old")
	dns.name(b)
	if err := next.Claim(t.Context(), framing.Claim{Name: customDomain}); err != nil {
		t.Fatal(err)
	}
	next.echo("next")
	old.expectLost(t, customDomain, framing.DeniedUnproven)
	r.reaches(customDomain, "next")
	denied(t, old.Claim(t.Context(), framing.Claim{Name: customDomain}), framing.DeniedUnproven)
	r.reaches(customDomain, "next")
}

// A device that stays connected loses its domain days after DNS has ceased to name
// it, with the reason, and not because DNS fails once.
func TestCustomDomainIsLostWhileConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dns domainRecord
		r := memRig(t, func(s *relay.Server) { s.Names.Prove = dns.prove })
		id := newIdentity(t)
		dns.name(id)
		d := r.device(id, customDomain, "a."+zone).echo("device")
		dns.mu.Lock()
		dns.fails = errors.New("SERVFAIL")
		dns.mu.Unlock()
		time.Sleep(26 * time.Hour)
		dns.mu.Lock()
		dns.fails = nil
		dns.mu.Unlock()
		dns.name()
		time.Sleep(2 * 24 * time.Hour)
		r.reaches(customDomain, "device") // after three days without its name, two of them with an answer
		time.Sleep(26 * time.Hour)
		select {
		case lost := <-d.lost:
			if lost.Name != customDomain || lost.Code != framing.DeniedUnproven || !strings.Contains(lost.Text, "DNS does not name this device for it") || lost.Hint == "" {
				t.Errorf("told: %+v", lost)
			}
		default:
			t.Error("the device is not told")
		}
		r.refused(customDomain, unrecognizedName)
		r.reaches("a."+zone, "device")
		r.close()
		r.srv.Names.Grants.(*names.Grants).Close()
	})
}

// No address makes the relay ask DNS more often than it may. Who has a domain keeps
// it all the same.
func TestQuestionsToDNSAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dns domainRecord
		r := memRig(t, func(s *relay.Server) {
			s.Names.Prove = dns.prove
			s.SetLimits(limits.Config{Exempt: nobody, Address: limits.Address{Domains: limits.Rate{Count: 3, Per: time.Hour}}})
		})
		id, other := newIdentity(t), newIdentity(t)
		dns.name(id)
		r.device(id, customDomain)
		time.Sleep(12 * time.Hour)
		dns.mu.Lock()
		dns.asked = 0
		dns.mu.Unlock()
		d := r.device(other)
		for i := range 10 {
			err := d.Claim(t.Context(), framing.Claim{Name: fmt.Sprintf("d%d.example.test", i)})
			denied(t, err, framing.DeniedUnproven)
			if limited := strings.Contains(err.Error(), "too many custom domains"); limited != (i >= 3) {
				t.Errorf("claim %d: %v", i, err)
			}
		}
		r.device(id, customDomain)
		if dns.asked != 3 || r.limited("address_domains") != 8 {
			t.Errorf("DNS was asked %d times, %v were limited", dns.asked, r.limited("address_domains"))
		}
		r.close()
		r.srv.Names.Grants.(*names.Grants).Close()
	})
}

// Who loses a domain is told whole commands and records to set, which lead to itself.
func TestLostDomainTellsWholeRecords(t *testing.T) {
	var dns domainRecord
	r := newRig(t, func(s *relay.Server) { s.Names.Prove = dns.prove })
	for _, domain := range []string{
		customDomain,
		strings.Repeat("x", 58) + "." + strings.Repeat("y", 40) + ".example.test",
		strings.Repeat("x", 58) + "." + strings.Repeat("y", 40) + "." + strings.Repeat("z", 55) + ".example.test",
	} {
		old, next := newIdentity(t), newIdentity(t)
		dns.name(old)
		d := r.device(old, domain)
		dns.name(next)
		if err := r.device(next).Claim(t.Context(), framing.Claim{Name: domain}); err != nil {
			t.Fatal(err)
		}
		l := <-d.lost
		if strings.Contains(l.Hint, next.identity()) {
			t.Errorf("of %d bytes: the loser is told the other device's record: %s", len(domain), l.Hint)
		}
		if l.Hint != "" && !(strings.Contains(l.Hint, old.identity()) && strings.HasSuffix(l.Hint, " --relay "+zone)) {
			t.Errorf("of %d bytes: the hint is %q", len(domain), l.Hint)
		}
		if l.Hint == "" && len(domain) < 100 {
			t.Errorf("of %d bytes: there is no hint", len(domain))
		}
	}
}
