package domainproof

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// maxServices is how many HTTPS records of a name count.
const maxServices = 16

// A Service is where an HTTPS record (RFC 9460) leads the browsers that heed it.
type Service struct {
	Host  string // whose addresses count
	Port  int
	Hints []netip.Addr // of the host, as the record tells them itself
}

// Services returns where the HTTPS records of a name lead, for URLs with a port. None is no
// error.
func (r *Resolver) Services(ctx context.Context, name string, port int) (all []Service, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit())
	defer cancel()
	asks := r.begin()
	at := name
	if port != 443 {
		at = fmt.Sprintf("_%d._https.%s", port, name) // RFC 9460, section 9.1
	}
	for range maxChain {
		f, err := asks.follow(ctx, at, dns.TypeHTTPS)
		if err != nil {
			return nil, err
		}
		alias := ""
		for _, rr := range f.records[:min(len(f.records), maxServices)] {
			https, ok := rr.(*dns.HTTPS)
			if !ok {
				continue
			}
			if https.Priority == 0 {
				alias = strings.TrimSuffix(dns.CanonicalName(https.Target), ".")
				continue
			}
			all = append(all, serviceOf(https, port))
		}
		switch {
		case alias == "" && len(f.records) == 0 && len(all) == 0 && at != name && !strings.HasPrefix(at, "_"):
			return []Service{{Host: at, Port: port}}, nil // where an alias ends
		case alias == "":
			return all, nil
		}
		at, all = alias, nil
	}
	return nil, &Error{Question: question(name, dns.TypeHTTPS), Why: "they lead on and on"}
}

// serviceOf reads a record in ServiceMode.
func serviceOf(https *dns.HTTPS, port int) Service {
	s := Service{Host: strings.TrimSuffix(dns.CanonicalName(https.Target), "."), Port: port}
	if s.Host == "" {
		s.Host = strings.TrimSuffix(dns.CanonicalName(https.Hdr.Name), ".")
	}
	var hints []net.IP
	for _, v := range https.Value {
		switch v := v.(type) {
		case *dns.SVCBPort:
			s.Port = int(v.Port)
		case *dns.SVCBIPv4Hint:
			hints = append(hints, v.Hint...)
		case *dns.SVCBIPv6Hint:
			hints = append(hints, v.Hint...)
		}
	}
	for _, ip := range hints {
		if a, ok := netip.AddrFromSlice(ip); ok {
			s.Hints = append(s.Hints, a.Unmap())
		}
	}
	return s
}
