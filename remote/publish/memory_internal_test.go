package publish

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"testing"
)

// However much memory there is, requests are bounded by what they have open, too.
func TestRequestsAreBoundedByDescriptors(t *testing.T) {
	const units = 65536 // LimitNOFILE in the unit of the remote
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 30))
	b := NewBudgets(0)
	if most := b.requests.Limit() / requestCost; most+maxLocals > units/2 || most < maxVisitorStreams {
		t.Errorf("%d requests and %d connections to services with %d descriptors", most, maxLocals, units)
	}
	if b.windows.Limit() != 8<<30 {
		t.Errorf("windows of %d bytes", b.windows.Limit())
	}
}

// Whoever is refused for want of memory may leave the answer unread: meanwhile nothing
// of its request's head is held but what chooses the page.
func TestRequestWithoutMemoryLetsGoOfItsHead(t *testing.T) {
	for _, version := range []int{1, 2} {
		r := httptest.NewRequest(http.MethodPost, "https://x.test/path?query", nil)
		r.ProtoMajor = version
		for i := range 1000 {
			r.Header.Set(fmt.Sprint("x-", i), "y")
		}
		r.Header.Set("Accept", "text/html")
		r.Trailer = http.Header{"A": nil}
		head := r.Header
		w := httptest.NewRecorder()
		newExchange(w, r).overload()
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("HTTP/%d: %d", version, w.Code)
		}
		if len(r.Header) > 1 || r.Trailer != nil || r.RequestURI != "" || r.Host != "" || r.URL.Path != "" || r.URL.RawQuery != "" {
			t.Errorf("HTTP/%d: the request still has %d fields, %v, %q, %q, %v", version, len(r.Header), r.Trailer, r.RequestURI, r.Host, r.URL)
		}
		if head.Set("Mark", ""); r.Header["Mark"] != nil { // a map that is cleared keeps its size
			t.Errorf("HTTP/%d: the map of the head is still in use", version)
		}
	}
}
