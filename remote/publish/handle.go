package publish

import (
	"net/http"
	"net/url"
)

// handle gives a request to the route's handler.
func (r *route) handle(w http.ResponseWriter, req *http.Request) {
	in := *req
	if prefix := r.prefix(); prefix != "" {
		path, query, _ := target(req) // it has been checked
		in.RequestURI = r.strip(path) + query
		u := *req.URL
		u.RawPath = r.strip(u.EscapedPath())
		u.Path, _ = url.PathUnescape(u.RawPath) // net/http has read it before
		in.URL = &u
		in.Header.Set("X-Forwarded-Prefix", prefix)
	}
	r.Request.apply(in.Header)
	if len(r.Response.Set)+len(r.Response.Remove) > 0 {
		w = &changedWriter{ResponseWriter: w, changes: &r.Response}
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
	if !w.done && code >= 200 {
		w.done = true
		w.changes.apply(w.Header())
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *changedWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *changedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
