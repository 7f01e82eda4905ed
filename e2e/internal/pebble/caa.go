package pebble

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// caaTimeout is how long the DNS server may take for one answer.
const caaTimeout = 10 * time.Second

// SetCAA makes the CA keep to CAA records as a public one does, which Pebble itself does
// not look at: an order for a name is refused where the records that count, which the DNS
// server at addr is asked for, let pebble.test issue to other accounts alone (RFC 8659,
// section 3; RFC 8657, section 3). With an empty addr none is refused.
func (s *Server) SetCAA(addr string) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.caa = addr
}

// forbidden says why a request for an order is refused for its names' CAA records, or
// returns nil.
func forbidden(server string, body []byte) *Refusal {
	var jws struct{ Protected string }
	var protected struct{ Kid string }
	b := []byte(nil)
	if json.Unmarshal(body, &jws) == nil {
		b, _ = base64.RawURLEncoding.DecodeString(jws.Protected)
	}
	_ = json.Unmarshal(b, &protected)
	for _, name := range parseOrder(body).Names {
		if why := caaForbids(server, name, protected.Kid); why != "" {
			return &Refusal{Status: http.StatusForbidden, Type: "caa", Detail: "CAA for " + name + ": " + why}
		}
	}
	return nil
}

// caaForbids says why an account may have no certificate for a name, or nothing.
func caaForbids(server, name, account string) string {
	ctx, cancel := context.WithTimeout(context.Background(), caaTimeout)
	defer cancel()
	for at := name; at != ""; _, at, _ = strings.Cut(at, ".") {
		m, _, err := new(dns.Client).ExchangeContext(ctx, new(dns.Msg).SetQuestion(at+".", dns.TypeCAA), server)
		if err != nil || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			return "DNS does not say"
		}
		issues, allowed := 0, false
		for _, rr := range m.Answer { // the records at the end of CNAMEs, which NSD follows
			if r, ok := rr.(*dns.CAA); ok && strings.EqualFold(r.Tag, "issue") {
				issues++
				allowed = allowed || permits(r.Value, account)
			}
		}
		if issues > 0 && !allowed {
			return "the records at " + at + " do not permit " + account
		}
		if issues > 0 {
			return ""
		}
	}
	return ""
}

// permits reports whether an issue property lets pebble.test issue to an account.
func permits(value, account string) bool {
	parts := strings.Split(value, ";")
	if strings.TrimSpace(parts[0]) != "pebble.test" {
		return false
	}
	for _, p := range parts[1:] {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(p), "accounturi="); ok && uri != account {
			return false
		}
	}
	return true
}
