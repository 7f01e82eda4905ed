package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// whoKey is the context key of who pulls a lever, where that is no user at the other
// end of a connection.
type whoKey struct{}

// Do answers a request of the API from within the process, such as one of the
// operator's page. The caller has made sure that the person who asks may: the checks of
// the socket are not made here. The audit log has who as that person's name. Body is
// nil, or the value that is sent as JSON.
//
// The answer is of the type that the documentation of this package names for the
// request. An error is an [*Error], with the status and the hints that the socket
// would have answered with, or what a route of the API has returned.
func (s *Server) Do(ctx context.Context, who, method, target string, body any) (any, error) {
	s.init()
	if s.paused.Load() {
		return nil, problem(http.StatusServiceUnavailable, "a new process is taking over").because("ask again in a second")
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	if body == nil {
		b = nil
	}
	r, err := http.NewRequestWithContext(context.WithValue(ctx, whoKey{}, who), method, "http://relay"+target, bytes.NewReader(b))
	if err != nil {
		return nil, wrong("%v", err)
	}
	for _, rt := range s.routes() { // as a ServeMux does: the whole path first
		if rt.method == method && rt.path == r.URL.Path {
			return rt.do(r)
		}
	}
	for _, rt := range s.routes() {
		if rt.method == method && matches(rt.path, r.URL.Path) {
			r.SetPathValue("name", r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
			return rt.do(r)
		}
	}
	return nil, problem(http.StatusNotFound, "the API has no %s %.80q", method, r.URL.Path)
}
