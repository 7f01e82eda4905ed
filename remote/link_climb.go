package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"keystay/framing"
	"keystay/internal/proxydial"
)

// defaultPort is a relay's public port where none is given.
const defaultPort = "443"

// climb returns where the relay of a name may be, in the order to ask: the
// registrable domain above the name first, then what lies between the two, down
// to the name's parent. A public suffix is never asked, since nobody who runs
// one is a relay's operator.
//
// The order is what keeps others from passing for the relay. A relay gives out
// the names below its own, so whoever holds team.relay.net can answer there like
// a relay, with a good certificate. Nobody holds relay.net but its owner.
func climb(domain string) []string {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	var found []string
	for {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok || parent == suffix || len(parent) < len(suffix) {
			slices.Reverse(found)
			return found
		}
		found = append(found, parent)
		domain = parent
	}
}

// owns reports whether relay is the registrable domain of the name. No relay
// gives such a name out, so that nobody but its owner has a certificate for it.
func owns(relay, domain string) bool {
	host, _ := splitRelay(relay)
	top := climb(domain)
	return len(top) > 0 && host == top[0]
}

// firstAnswer asks one candidate after the other and returns the first answer. It goes
// on to the next candidate only when this one is no relay (see isNoRelay): a
// relay that has too much to do, or that somebody keeps busy, must not make a
// name below it look like the relay.
func firstAnswer(ctx context.Context, candidates []string, ask func(context.Context, string) (*reached, error)) (*reached, error) {
	var errs []error
	for _, relay := range candidates {
		r, err := ask(ctx, relay)
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || !isNoRelay(err) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// isNoRelay reports whether an attempt to reach a relay has shown that there is
// none: the name has no address, nothing takes connections there, or what
// answers is something else. No answer at all, a reset, a certificate that
// cannot be verified and a relay that has no certificate yet show nothing.
//
// An address that takes no connections is also the address of the names below
// it, if it is a relay's. So nobody gains by keeping it from answering.
func isNoRelay(err error) bool {
	var dns *net.DNSError
	var proxy *proxydial.Error
	var upgrade *framing.UpgradeError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &proxy):
		// The proxy looks the name up and dials. It answers alike, with 502,
		// 503 or 504, where the name has no address and where the relay or the
		// proxy has too much to do. Only 404 is no answer of a busy one. This
		// case is the first, since another error may be of the way to the proxy.
		return proxy.Status == http.StatusNotFound
	case errors.As(err, &dns):
		return dns.IsNotFound
	case isDial(err):
		return true
	case errors.As(err, &upgrade):
		return knowsNoLinks(upgrade.Status)
	}
	return errors.Is(err, errNotRelay) || isAlert(err, alertUnrecognizedName) || errors.As(err, &plain)
}

// knowsNoLinks reports whether a server that answers the upgrade to a WebSocket
// with this HTTP status has no links to give: it serves a page or leads to one,
// or it knows no such path, method or upgrade. A relay that is busy, or what
// stands before it, answers otherwise, such as with 403, 429 or 503.
func knowsNoLinks(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusGone, http.StatusUpgradeRequired:
		return true
	}
	return status >= 200 && status < 400
}

// splitRelay splits host[:port].
func splitRelay(relay string) (host, port string) {
	if h, p, err := net.SplitHostPort(relay); err == nil {
		return h, p
	}
	return relay, defaultPort
}
