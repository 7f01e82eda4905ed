package publish

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"keystay/internal/fields"
)

// HeaderChanges are what is changed in the head of a request or an answer: first
// fields are removed, in any spelling, then others are set. Those that frame a
// message or say where it comes from are not to be changed, see Route.Check.
type HeaderChanges struct {
	// Set has the new values of fields, which replace those that are there.
	Set http.Header

	// Remove has the names of fields.
	Remove []string
}

// check looks for mistakes, in any spelling. Own reports whether a field, by its canonical
// name, is written by this package alone.
func (c *HeaderChanges) check(own func(string) bool) error {
	for name, values := range c.Set {
		if err := checkField(name, own); err != nil {
			return err
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("the value of %s has bytes that no header may have", name)
			}
		}
	}
	for _, name := range c.Remove {
		if err := checkField(name, own); err != nil {
			return err
		}
	}
	return nil
}

func checkField(name string, own func(string) bool) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is no name of a header", name)
	case own(http.CanonicalHeaderKey(fields.WithDashes(name))):
		return fmt.Errorf("the header %s is set by the remote itself", http.CanonicalHeaderKey(name))
	}
	return nil
}

// apply changes h.
func (c *HeaderChanges) apply(h http.Header) {
	if len(c.Remove) == 0 && len(c.Set) == 0 {
		return
	}
	c.leaveOut(h)
	for name, values := range c.Set {
		canonical := http.CanonicalHeaderKey(name)
		h[canonical] = slices.Clone(values) // some are changed in their place
		spell(h, []string{name})
	}
}

// leaveOut takes out what is removed or replaced. That is all that there is to do with an
// interim answer.
func (c *HeaderChanges) leaveOut(h http.Header) {
	for _, name := range c.Remove {
		removeField(h, name)
	}
	for name := range c.Set {
		removeField(h, name)
	}
}

// removeField removes a field in any spelling. A field that net/http would then add by
// itself stays out.
func removeField(h http.Header, name string) {
	for n := range h {
		if fields.Same(n, name) {
			delete(h, n)
		}
	}
	switch canonical := http.CanonicalHeaderKey(name); canonical {
	case "User-Agent", "Content-Type", "Date":
		h[canonical] = nil
	}
}

// dropHops takes out of an interim answer what is about the connection to the service (RFC
// 9110, section 7.6.1). ReverseProxy does so with final answers alone, and a visitor over
// HTTP/2 takes these fields for a broken stream (RFC 9113, section 8.2.2).
func dropHops(h http.Header) {
	for option := range strings.SplitSeq(strings.Join(h["Connection"], ","), ",") {
		h.Del(textproto.TrimString(option))
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}
