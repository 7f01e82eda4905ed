package publish

import (
	"net/http"
	"net/url"
	"strings"

	"keystay/internal/urlpath"
)

// handle gives a request to the route's handler.
func (r *route) handle(w http.ResponseWriter, req *http.Request) {
	in := *req
	if r.prefix != "" {
		path, query, _ := urlpath.Target(req) // it has been checked
		in.RequestURI = r.strip(path) + query
		u := *req.URL
		raw := r.strip(u.EscapedPath())
		u.Path, _ = url.PathUnescape(raw) // net/http has read it before
		if u.RawPath != "" {
			u.RawPath = raw
		}
		if u.Path == "/" && !strings.HasSuffix(path, "/") {
			u.Path, u.RawPath = "", "" // the prefix itself, as http.StripPrefix leaves it
		}
		in.URL = &u
		in.Header.Set("X-Forwarded-Prefix", r.prefix)
	}
	r.Request.apply(in.Header)
	if len(r.Response.Set)+len(r.Response.Remove) > 0 {
		changed := &changedWriter{ResponseWriter: w, changes: &r.Response}
		defer changed.change() // of an answer that nothing was written of
		w = changed
	}
	r.Handler.ServeHTTP(w, &in)
}

// A changedWriter changes the head of an answer before it is sent.
type changedWriter struct {
	http.ResponseWriter
	changes *HeaderChanges
	done    bool
}

// WriteHeader implements http.ResponseWriter.
func (w *changedWriter) WriteHeader(code int) {
	if code >= 200 {
		w.change()
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *changedWriter) change() {
	if !w.done {
		w.done = true
		w.changes.apply(w.Header())
	}
}

// Write implements http.ResponseWriter.
func (w *changedWriter) Write(p []byte) (int, error) {
	w.change()
	return w.ResponseWriter.Write(p)
}

// FlushError sends what there is, a head at least.
func (w *changedWriter) FlushError() error {
	w.change()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *changedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
