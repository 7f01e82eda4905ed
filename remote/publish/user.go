package publish

import (
	"context"
	"maps"
	"net/http"
)

type userKey struct{}

// WithUser returns r as a service is to get it whose visitor has signed in at a gate:
// of all fields by which a front tells of a visitor it has those in told alone, which
// may be empty. A [Target] hands these on, beside those that it sets itself. R's header
// is changed in place.
func WithUser(r *http.Request, told http.Header) *http.Request {
	dropFrontFields(r.Header)
	if len(told) == 0 {
		return r
	}
	maps.Copy(r.Header, told)
	return r.WithContext(context.WithValue(r.Context(), userKey{}, told))
}

// tellUser puts what WithUser was told of a request into the header that its service
// gets, where the visitor's own were dropped.
func tellUser(h http.Header, r *http.Request) {
	if told, ok := r.Context().Value(userKey{}).(http.Header); ok {
		maps.Copy(h, told)
	}
}
