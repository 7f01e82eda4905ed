package proxydial

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// An Error says why a proxy gave no connection.
type Error struct {
	Proxy  string // its URL without user and password
	Status int    // what an HTTP proxy answered, or 0
	Err    error  // what else went wrong

	noBasic bool // with status 407: a user and password would not do
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("proxy %s: %v", e.Proxy, e.Err)
	}
	return strings.TrimSpace(fmt.Sprintf("proxy %s: it answers CONNECT with %d %s", e.Proxy, e.Status, http.StatusText(e.Status)))
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Hints says what to do, in one line each.
func (e *Error) Hints() []string {
	var op *net.OpError
	switch {
	case e.Status == http.StatusProxyAuthRequired && e.noBasic:
		return []string{"this proxy wants a way of signing in other than user and password, which is not supported",
			"a local proxy that signs in to it, such as cntlm or px, can stand in between"}
	case e.Status == http.StatusProxyAuthRequired:
		return []string{"the proxy wants a user and password, or others than it was given: --proxy http://USER:PASSWORD@HOST:PORT",
			"what is no letter or digit in them is written as in a URL: %40 for @"}
	case e.Status == http.StatusForbidden:
		return []string{"the proxy forbids this host or port: most allow port 443 alone; ask whoever runs it"}
	case e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented || e.Status == http.StatusBadRequest:
		return []string{"what answers there passes no connections on: check the proxy's address and port"}
	case e.Status >= 500:
		return []string{"the proxy cannot reach the relay: check the relay's name; if it is right, ask whoever runs the proxy"}
	case errors.Is(e.Err, errNoHTTP):
		return []string{"check the proxy's port and its kind: http, https or socks5"}
	case errors.As(e.Err, &op) && op.Op == "dial":
		return []string{"the proxy cannot be reached: check its address, or go without: --proxy none"}
	case strings.HasPrefix(e.Proxy, "socks5"):
		return []string{"if the proxy wants a user and password: --proxy socks5://USER:PASSWORD@HOST:PORT"}
	}
	return nil
}
