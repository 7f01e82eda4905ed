package config

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/internal/fields"
	"keystay/internal/urlpath"
)

// routeWords are the keys that stand in a service's routes, or in the service itself
// where it has local.
var routeWords = []string{"listing", "spa", "host_header", "headers", "timeouts", "health"}

// target reads where the visitors of a service go: local, or routes.
func (r *serviceReader) target(b block, s *Service) {
	if !b.has("routes") {
		r.whole(b, s)
		return
	}
	if b.has("local") {
		r.errs.add(b.at("local"), "there are routes too", `put it into them, as {path: /, local: …}, or take them out`)
		return
	}
	for _, key := range []string{"listing", "spa", "health"} {
		if b.has(key) {
			r.errs.add(b.at(key), "there are routes", "put it into the one that it is for")
		}
	}
	rows := b.rows("routes")
	if len(rows) == 0 {
		r.errs.add(b.at("routes"), "empty: there is nothing to publish", `as in routes: [{path: /api/, local: 3000}, {path: /, local: ./public}]`)
	}
	first := map[string]int{}
	for _, row := range rows {
		route := r.route(row, b)
		switch line := r.src.file.places[row.path].line; {
		case first[route.Path] > 0 && route.Path != "":
			r.errs.add(row.at("path"), quote(route.Path)+" is there twice", "the first is in line "+strconv.Itoa(first[route.Path]))
		default:
			first[route.Path] = line
		}
		s.Routes = append(s.Routes, route)
		r.circle(row, s, route)
	}
}

// circle reports a redirect that leads visitors of a service to itself again: one of all
// that it has, or one that keeps the path.
func (r *serviceReader) circle(b block, s *Service, route Route) {
	l := route.Local
	name, err := hostName(redirectHost(l))
	keeps := !route.Strip && l.Kind == LocalRedirect && l.URL.Path+l.URL.RawQuery+l.URL.Fragment == ""
	if err == nil && slices.Contains(s.Domains, name) && (keeps || !b.has("path")) {
		r.errs.add(b.at("local"), fmt.Sprintf("%s leads back to the name itself: visitors would go round for ever", quote(b.text("local"))), "lead to another name; or by routes to a path that has one of its own")
	}
}

// redirectHost is the host that a redirect leads to on the port of its scheme, or "".
func redirectHost(l Local) string {
	if l.Kind != LocalRedirect || l.URL.Port() != "" && l.URL.Port() != map[string]string{"http": "80", "https": "443"}[l.URL.Scheme] {
		return ""
	}
	return l.URL.Hostname()
}

// whole reads a service with one local service for all paths.
func (r *serviceReader) whole(b block, s *Service) {
	l, ok := r.local(b)
	if !ok {
		return
	}
	if !l.IsRaw() {
		route := Route{Path: "/", Local: l}
		r.settings(b, b, &route)
		s.Routes = []Route{route}
		r.circle(b, s, route)
		return
	}
	s.Raw = &l
	for _, key := range routeWords {
		if b.has(key) {
			r.errs.add(b.at(key), "has no effect on "+l.String()+", whose bytes are passed on as they are", "take it out, or publish the service by http://")
		}
	}
}

// route reads one row of the routes of service.
func (r *serviceReader) route(row, service block) Route {
	route := Route{Path: row.text("path"), Strip: row.switchOf("strip")}
	if !row.has("path") {
		r.errs.add(row.at("path"), "missing", "as in path: /api/, or path: / for all that has no other route")
	} else {
		r.urlPath(row.at("path"), route.Path)
	}
	switch {
	case route.Strip && route.Path == "/":
		r.errs.add(row.at("strip"), "there is nothing to take off the path /", "take strip out")
	case route.Strip && strings.HasPrefix(route.Path, "/") && !strings.HasSuffix(route.Path, "/"):
		r.errs.add(row.at("path"), quote(route.Path)+" is one path alone, and strip is for all below one", "did you mean "+quote(route.Path+"/")+"?")
	}
	l, ok := r.local(row)
	switch {
	case !ok:
		return route
	case l.IsRaw():
		r.errs.add(row.at("local"), quote(l.String())+" has no paths", "a tcp:// or tls:// service needs a name of its own, or alpn")
		return route
	}
	route.Local = l
	leadsToOne := l.Kind == LocalText || l.Kind == LocalRedirect && l.URL.Path+l.URL.RawQuery+l.URL.Fragment != "" // else it keeps the path
	if row.has("strip") && leadsToOne {
		r.errs.add(row.at("strip"), "has no effect on "+l.String(), "take it out")
	}
	r.settings(row, service, &route)
	return route
}

// urlPath checks a path that routes or gates go by.
func (r *serviceReader) urlPath(at, path string) {
	clean, plain := urlpath.Clean(path)
	switch {
	case strings.Contains(path, "*"):
		r.errs.add(at, quote(path)+" has a star", "a path that ends with a slash is for all below it, as in /api/")
	case path != "" && !strings.HasPrefix(path, "/"):
		r.errs.add(at, quote(path)+" is no path", "it begins with a slash, as in /api/")
	case !plain || clean != path:
		r.errs.add(at, quote(path)+" is no path that all programs read in one way", "write it as people read it, without % and ; and dots, as in /api/")
	}
}

// settings reads what can be said of a route. Row says it, or the service does for all
// its routes; these are the same block where there is no list of routes.
func (r *serviceReader) settings(row, service block, route *Route) {
	l := route.Local
	kind := l.Kind
	for key, fits := range map[string]bool{
		"listing": kind == LocalFolder, "spa": kind == LocalFolder, "host_header": kind == LocalHTTP, "timeouts": kind == LocalHTTP, "health": kind == LocalHTTP,
	} {
		if row.has(key) && !fits {
			r.errs.add(row.at(key), "has no effect on "+l.String(), "take it out")
		}
	}
	route.Listing, route.SPA = row.switchOf("listing"), row.switchOf("spa")
	if kind == LocalFolder {
		r.folder(row, l.Folder)
	}
	one := func(key string) block { // that says it
		if row.has(key) {
			return row
		}
		return service
	}
	if kind == LocalHTTP {
		host := one("host_header")
		if route.HostHeader = host.text("host_header"); route.HostHeader == "" && !host.has("host_header") {
			route.HostHeader = "keep"
		} else {
			r.errs.hostHeader(host.at("host_header"), route.HostHeader)
		}
		timeouts := one("timeouts").group("timeouts")
		route.ConnectTimeout = r.span(timeouts, "connect", time.Millisecond, time.Hour, 0)
		route.AnswerTimeout = r.span(timeouts, "answer", 0, 24*time.Hour, 0)
		r.health(row.group("health"), route)
	}
	route.Request, route.Response = r.headers(row.group("headers").group("request"), fields.OfRequest), r.headers(row.group("headers").group("response"), fields.OfMessage)
	if row.path != service.path {
		route.Request.below(r.headers(service.group("headers").group("request"), fields.OfRequest))
		route.Response.below(r.headers(service.group("headers").group("response"), fields.OfMessage))
	}
}

// below adds what general says, where c says nothing else.
func (c *HeaderChanges) below(general HeaderChanges) {
	for name, value := range general.Set {
		if c.Set[name] == nil && !slices.Contains(c.Remove, name) {
			if c.Set == nil {
				c.Set = http.Header{}
			}
			c.Set[name] = value
		}
	}
	for _, name := range general.Remove {
		if !slices.Contains(c.Remove, name) {
			c.Remove = append(c.Remove, name)
		}
	}
}

// health reads how a service is looked after.
func (r *serviceReader) health(b block, route *Route) {
	if b.text("path") == "" {
		if b.has("every") {
			r.errs.add(b.at("path"), "missing", "the path to ask for, as in /healthz")
		}
		return
	}
	route.Health.Path = b.text("path")
	if !strings.HasPrefix(route.Health.Path, "/") || strings.ContainsFunc(route.Health.Path, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' }) {
		r.errs.add(b.at("path"), quote(route.Health.Path)+" is no path", "it begins with a slash, as in /healthz")
	}
	route.Health.Every = r.span(b, "every", time.Second, time.Hour, 10*time.Second)
}

// folder reports a folder that cannot be served.
func (r *serviceReader) folder(b block, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		r.errs.add(b.at("local"), "cannot read the folder "+quote(b.text("local"))+": "+reason(err).Error(), unreadable(path, err)...)
	case !info.IsDir():
		r.errs.add(b.at("local"), quote(b.text("local"))+" is no folder", "the folder that it is in is served whole; a text is text:…")
	default:
		r.folders = append(r.folders, servedFolder{b.at("local"), b.text("local"), path})
	}
}
