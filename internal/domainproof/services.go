package domainproof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxServices is how many HTTPS records of a name count, and how many ports and hints of one
// of them.
const maxServices = 16

// A Service is where an HTTPS record (RFC 9460) leads the browsers that heed it.
type Service struct {
	Host  string // whose addresses count
	Port  int
	Hints []netip.Addr // of the host, as the record tells them itself
}

// Services returns where the HTTPS records of a name lead, for URLs with a port: those of a
// record that is preferred first. None is no error. An error, a *[Error] that is not Silent,
// says that there are records of which not all could be read or followed, and comes with
// what the others say.
func (r *Resolver) Services(ctx context.Context, name string, port int) (all []Service, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit())
	defer cancel()
	asks := r.begin()
	at := name
	if port != 443 {
		at = fmt.Sprintf("_%d._https.%s", port, name) // RFC 9460, section 9.1
	}
	names := []string{at} // from the first on along aliases
	var ends []Service    // the aliases themselves, where all else fails (section 3)
	for i := 0; i < len(names); i++ {
		f, failed := asks.follow(ctx, names[i], dns.TypeHTTPS)
		if e, ok := errors.AsType[*Error](failed); ok && i > 0 {
			e.Silent = false // there is the record that leads there
		}
		records, unread := modes(f.records)
		if unread != "" {
			failed = &Error{Question: question(names[i], dns.TypeHTTPS), Why: unread}
		}
		err = cmp.Or(err, failed)
		for _, https := range records {
			target := plainName(https.Target)
			switch {
			case https.Priority > 0: // beside an alias, too: a browser may prefer it
				hosts := []string{cmp.Or(target, plainName(https.Hdr.Name))}
				if hosts[0] == at && at != name {
					hosts = append(hosts, name) // as a browser may have it
				}
				for _, host := range hosts {
					list, more := servicesOf(https, host, port)
					all = append(all, list...)
					if more {
						err = cmp.Or[error](err, &Error{Question: question(names[i], dns.TypeHTTPS), Why: fmt.Sprintf("one has more than %d addresses or ports", maxServices)})
					}
				}
			case target == "": // there is no service
			case slices.Contains(names, target), len(names) > maxChain:
				err = cmp.Or[error](err, &Error{Question: question(name, dns.TypeHTTPS), Why: "they lead on and on"})
			default:
				names, ends = append(names, target), append(ends, Service{Host: target, Port: port})
			}
		}
	}
	return append(all, ends...), err
}

// plainName is a name in lower case, without the dot at its end and escapes.
func plainName(s string) string { return unescaped(strings.TrimSuffix(dns.CanonicalName(s), ".")) }

// modes returns the records that can be read, sorted by their priority, up to maxServices of
// them. Unread is why these are not all.
func modes(all []dns.RR) (list []*dns.HTTPS, unread string) {
	for _, rr := range all {
		if https, ok := rr.(*dns.HTTPS); ok {
			list = append(list, https)
		} else {
			unread = "one of them cannot be read"
		}
	}
	slices.SortStableFunc(list, func(a, b *dns.HTTPS) int { return int(a.Priority) - int(b.Priority) })
	if len(list) > maxServices {
		list, unread = list[:maxServices], fmt.Sprintf("there are more than %d", maxServices)
	}
	return list, unread
}

// servicesOf reads a record in ServiceMode. It is one service, or one for each port where it
// has several. More reports that it has more addresses or ports than count.
func servicesOf(https *dns.HTTPS, host string, port int) (all []Service, more bool) {
	var ports []int
	var hints []net.IP
	for _, v := range https.Value {
		switch v := v.(type) {
		case *dns.SVCBPort:
			ports = append(ports, int(v.Port))
		case *dns.SVCBIPv4Hint:
			hints = append(hints, v.Hint...)
		case *dns.SVCBIPv6Hint:
			hints = append(hints, v.Hint...)
		}
	}
	if len(ports) == 0 {
		ports = []int{port}
	}
	var told []netip.Addr
	for _, ip := range hints[:min(len(hints), maxServices)] {
		if a, ok := netip.AddrFromSlice(ip); ok {
			told = append(told, a.Unmap())
		}
	}
	for _, p := range ports[:min(len(ports), maxServices)] {
		all = append(all, Service{Host: host, Port: p, Hints: told})
	}
	return all, len(hints) > maxServices || len(ports) > maxServices
}
