package publish

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"keystay/internal/urlpath"
)

// Whatever the spelling of a path, the route that it takes is the longest one that
// has it as services read it, and what is left of a stripped one is read as the rest.
func FuzzStrip(f *testing.F) {
	for _, path := range []string{
		"/", "/api", "/api/", "/api/x", "/%61pi/%78", "/api/v2", "/api/v2/x", "/apix", "/api//x", "/api/../x", "/api%2fx", "/api/%2e%2e/x", "//api", "/api\\x", "/api;x", "/a\u0301pi/", "/\xff/api/", "/api/caf%C3%A9", "*",
	} {
		f.Add(path)
	}
	ok := Text("")
	table := newTable(SiteConfig{Routes: []Route{{Path: "/", Handler: ok}, {Path: "/api/", Strip: true, Handler: ok}, {Path: "/api/v2/", Strip: true, Handler: ok}, {Path: "/api/v2", Handler: ok}}}, nil, nil)
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "?") {
			return
		}
		clean, plain := urlpath.Clean(path)
		r, no := table.find(path)
		if plain != (no == nil) {
			t.Fatalf("%q: plain %t, %v", path, plain, no)
		}
		if no != nil {
			return
		}
		for _, other := range table.routes {
			if other.has(clean) && len(strings.Trim(other.Path, "/")) > len(strings.Trim(r.Path, "/")) {
				t.Errorf("%q goes to %s, and %s is longer", path, r.Path, other.Path)
			}
		}
		rest := r.strip(path)
		read, plain := urlpath.Clean(rest)
		whole := strings.TrimSuffix(r.prefix+read, "/")
		if !plain || whole != strings.TrimSuffix(clean, "/") {
			t.Errorf("%q goes to %s as %q, which is read as %q below %q", path, r.Path, rest, read, r.prefix)
		}
	})
}

// A prefix is put in front of a path alone: where else a Location leads, it leads as
// before.
func FuzzAddPrefix(f *testing.F) {
	const host = "xyz.relay.test"
	for _, to := range []string{
		"", "/", "/a", "/api/a", "//" + host, "//" + host + "/a", "https://" + host + "?a", "https://evil.test/a", "//evil.test/a", "https:///a", "/\\evil.test", "https://" + host + "@evil.test/", "https://" + host + "\\@evil.test/", "a//b", "a:b//c", "?//", "#//x", "http:" + "//" + host + "#//",
	} {
		f.Add(to)
	}
	r := &route{prefix: "/api"}
	f.Fuzz(func(t *testing.T, to string) {
		h := http.Header{"Location": {to}}
		r.addPrefix(h, host)
		got := h.Get("Location")
		if got == to {
			return
		}
		origin, path := splitOrigin(got)
		old, oldPath := splitOrigin(to)
		if origin != old || path != "/api"+oldPath && path != "/api/"+oldPath {
			t.Errorf("%q has become %q", to, got)
		}
		if before, err := url.Parse(to); err == nil && before.Host != "" && !strings.EqualFold(before.Host, host) {
			t.Errorf("%q, of %s, has become %q", to, before.Host, got)
		}
	})
}
