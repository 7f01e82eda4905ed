package remote

import (
	"net"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// defaultPort is a relay's public port where none is given.
const defaultPort = "443"

// climb returns where the relay of a name may be: its parent, then that one's,
// but never a public suffix, since nobody who runs one is a relay's operator.
func climb(domain string) []string {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	var found []string
	for {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok || parent == suffix || len(parent) < len(suffix) {
			return found
		}
		found = append(found, parent)
		domain = parent
	}
}

// splitRelay splits host[:port].
func splitRelay(relay string) (host, port string) {
	if h, p, err := net.SplitHostPort(relay); err == nil {
		return h, p
	}
	return relay, defaultPort
}
