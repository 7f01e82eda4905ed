package publish

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"keystay/internal/fields"
	"keystay/internal/page"
	"keystay/internal/urlpath"
)

// A Route is where the requests of a Site with a path go.
type Route struct {
	// Path begins with a slash. One that ends with a slash is for all paths below
	// it and for itself without the slash; another one is for that path alone. The
	// route with the longest Path is taken.
	Path string

	// Strip takes Path off the path of the request. The service is told it in
	// X-Forwarded-Prefix.
	Strip bool

	// Target answers, or Handler: one of them is set. Handler gets requests whose
	// host and form have been checked.
	Target  *Target
	Handler http.Handler

	// Request and Response change the fields of the request's head and of the
	// answer's.
	Request, Response HeaderChanges

	// ConnectTimeout is how long Target may take to answer a dial, and then a TLS
	// handshake; 0 means 10 s. AnswerTimeout is how long the head of its answer may
	// take from the end of the request; 0 means as long as the visitor waits.
	ConnectTimeout, AnswerTimeout time.Duration

	// Health is how Target is looked after; the zero value is not at all.
	Health Health
}

// Check looks for mistakes in a route.
func (r *Route) Check() error {
	clean, plain := urlpath.Clean(r.Path)
	switch {
	case !plain || clean != r.Path:
		return fmt.Errorf("route %q: this is no path as /, /files/ or /file", r.Path)
	case r.Strip && !strings.HasSuffix(r.Path, "/"):
		return fmt.Errorf("route %q: strip is for a path that ends with a slash", r.Path)
	case (r.Target == nil) == (r.Handler == nil):
		return fmt.Errorf("route %q: it needs a target or a handler", r.Path)
	case r.Target == nil && (r.ConnectTimeout != 0 || r.AnswerTimeout != 0 || r.Health != Health{}):
		return fmt.Errorf("route %q: timeouts and health are for a target", r.Path)
	case r.ConnectTimeout < 0 || r.AnswerTimeout < 0:
		return fmt.Errorf("route %q: a timeout is negative", r.Path)
	}
	for _, err := range []error{r.Request.check(fields.OfRequest), r.Response.check(fields.OfMessage), r.Health.check()} {
		if err != nil {
			return fmt.Errorf("route %q: %w", r.Path, err)
		}
	}
	return nil
}

// A route is a Route in use.
type route struct {
	Route
	service *service // of Target
	health  *health  // nil without checks
	depth   int      // segments of Path, for Strip
	prefix  string   // what Strip takes off, as X-Forwarded-Prefix has it; empty for nothing
}

// has reports whether a path of urlpath.Clean is the route's.
func (r *route) has(clean string) bool {
	if strings.HasSuffix(r.Path, "/") {
		return urlpath.Has(clean, r.Path)
	}
	return clean == r.Path
}

// strip takes the route's path off a plain path as the visitor has sent it, whose
// bytes may be escaped. In a plain path each slash ends a segment, for all who read
// it.
func (r *route) strip(path string) string {
	if !r.Strip || path == "*" {
		return path
	}
	for range r.depth {
		i := strings.IndexByte(path[1:], '/')
		if i < 0 {
			return "/"
		}
		path = path[1+i:]
	}
	return path
}

// A table is the routes of a site at a time.
type table struct {
	routes    []*route     // the longest path first
	whole     bool         // there is one route, for all paths
	inspected http.Handler // what inspects, if there is something, and the routes behind it
	gated     http.Handler // the gate, if there is one, and all that is behind it
}

// newTable returns a table of checked routes. It asks serviceOf for the services.
// Old is the table before, or nil.
func newTable(c SiteConfig, old *table, serviceOf func(*Route) *service) *table {
	t := new(table)
	for _, r := range c.Routes {
		in := &route{Route: r, depth: strings.Count(r.Path, "/") - 1}
		if r.Strip {
			in.prefix = urlpath.EscapeOthers(strings.TrimSuffix(r.Path, "/"))
		}
		if r.Target != nil {
			in.service = serviceOf(&r)
		}
		if r.Health.Path != "" {
			in.health = newHealth(in, old.healthOf(in.service, r.Health))
		}
		t.routes = append(t.routes, in)
	}
	slices.SortFunc(t.routes, func(a, b *route) int {
		return cmp.Or(len(strings.TrimSuffix(b.Path, "/"))-len(strings.TrimSuffix(a.Path, "/")), len(a.Path)-len(b.Path))
	})
	t.whole = len(t.routes) == 1 && t.routes[0].Path == "/"
	var behind http.Handler = http.HandlerFunc(t.admitted)
	if c.Inspect != nil {
		t.inspected = c.Inspect(behind)
		behind = t.inspected
	}
	if c.Gate != nil {
		t.gated = c.Gate(behind)
	}
	return t
}

// healthOf returns how a service is, by checks as h has them, or nil.
func (t *table) healthOf(s *service, h Health) *health {
	if t == nil {
		return nil
	}
	for _, r := range t.routes {
		if r.service == s && r.Health == h {
			return r.health
		}
	}
	return nil
}

// find returns the route for a path as the visitor has sent it, or a page if there
// is none. Where there is more than one, each has to know which one a path is for:
// services that read a path in another way would be reached past the route, and the
// gate, that it has for them.
func (t *table) find(path string) (*route, *page.Page) {
	if t.whole {
		return t.routes[0], nil
	}
	clean, plain := "/", true
	if path != "*" {
		clean, plain = urlpath.Clean(path)
	}
	if !plain {
		return nil, malformed("Its path can be read in more than one way.")
	}
	if r := t.longest(clean); r != nil {
		return r, nil
	}
	return nil, &page.Page{
		Status: http.StatusNotFound,
		Title:  "There is nothing here",
		Text:   "The device behind this name has no page with this address.",
	}
}

// keepInside drops a Destination of WebDAV (RFC 4918, section 10.3) that another route has
// than a request's, or none: it is no place of the service, as far as the routes give it to
// visitors. Two routes of a service with one prefix are one place.
func (t *table) keepInside(r *route, h http.Header) {
	if t.whole || len(h["Destination"]) == 0 {
		return
	}
	var inside []string
	for _, to := range h["Destination"] {
		if path, plain := urlpath.CleanURL(to); plain {
			if its := t.longest(path); its != nil && its.service == r.service && its.prefix == r.prefix {
				inside = append(inside, to)
			}
		}
	}
	if delete(h, "Destination"); len(inside) > 0 {
		h["Destination"] = inside
	}
}

// longest returns the route with the longest path that has a path of urlpath.Clean, or nil.
func (t *table) longest(clean string) *route {
	for _, r := range t.routes {
		if r.has(clean) {
			return r
		}
	}
	return nil
}
