package publish

import (
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"

	"keystay/internal/fields"
	"keystay/internal/urlpath"
)

// outgoingURL leads to the target's scheme and host with a path and a query that
// net/http writes as they are.
func (t *Target) outgoingURL(path, query string) *url.URL {
	return urlpath.Outgoing(t.URL.Scheme, t.URL.Host, path, query)
}

// dropFraming takes out of trailers what must not be there (RFC 9110, section
// 6.5.1): what frames and routes a message, what says who asks, and what changes for what,
// which a gate has not seen.
func dropFraming(trailer http.Header) {
	for name := range trailer {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Expect",
			"Content-Type", "Content-Encoding", "Content-Range", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Range", "Max-Forwards", "Destination", "Depth", "Overwrite", "If":
			delete(trailer, name)
		}
		if fields.OfMethod(name) || fields.OfSource(name) || fields.OfAccount(name) || fields.OfManifest(name) {
			delete(trailer, name)
		}
	}
}

// rewrite makes the request that the service gets out of the visitor's.
func (t *Target) rewrite(r *httputil.ProxyRequest) {
	path, query, _ := urlpath.Target(r.In) // it has been checked
	route := exchangeOf(r.In).route
	r.Out.URL = t.outgoingURL(route.strip(path), query)
	r.Out.Host = t.serviceHost(r.In.Host)
	h := r.Out.Header
	nameAlike(h, r.In.Host)
	route.cutPrefix(h, r.In.Host)
	t.renameRequest(h, r.In.Host)
	fields.DropOfFront(r.In.Trailer) // so far there are names alone, if any
	dropFraming(r.In.Trailer)
	r.Out.Trailer = maps.Clone(r.In.Trailer) // keptReader fills it in when the body has been read
	visitor := t.visitorAddress(r.In.RemoteAddr)
	h.Set("X-Forwarded-For", visitor)
	h.Set("X-Forwarded-Host", r.In.Host)
	h.Set("X-Forwarded-Proto", "https")
	h.Set("Forwarded", forwarded(visitor, r.In.Host))
	if route.prefix != "" {
		h.Set("X-Forwarded-Prefix", route.prefix)
	}
	if r.In.ContentLength == 0 && len(h["Content-Length"]) > 0 && r.In.Method != http.MethodGet && r.In.Method != http.MethodHead {
		// These make net/http write the Content-Length: 0.
		r.Out.Body, r.Out.TransferEncoding = http.NoBody, []string{"identity"}
	}
}
