package publish

import (
	"net/http"
	"strconv"
	"time"

	"keystay/internal/page"
)

const (
	// memoryPart is the part of the process's memory that requests may take where
	// NewBudgets is not told. The rest is for windows, buffers, TLS, and for
	// garbage, of which the runtime lets as much be there again.
	memoryPart = 4
	// largeHead is from when on a head counts for headsVisit. maxVisitorStreams
	// smaller ones are less than headsVisit anyway. Common servers take 8 KiB.
	largeHead = 8 << 10
	// headsVisit bounds the large heads of all requests under way of one
	// visitor's connection, but for a single one, which maxHeaderBytes bounds. It
	// is enough for maxVisitorStreams with cookies of 12 KB, which a page of many
	// images may have. Times maxHeaderBytes they would be 6.4 MiB.
	headsVisit = 7 << 18
	// fieldCost is about what a field takes beside its bytes, in the maps of the
	// visitor's request and of the service's.
	fieldCost = 128
	// requestCost is about what a request takes beside its head, from its beginning
	// to the end of its answer: goroutines, a buffer for the answer, and a
	// connection to the service.
	requestCost = 64 << 10
	// trailerCost is what the trailers count for that a request over HTTP/2 announces:
	// about as much as maxHeaderBytes of short fields take. Once they have come they are
	// kept until the end of the answer, whether or not they are read.
	trailerCost = 4 * maxHeaderBytes
	// chunkedCost is the same for a request over HTTP/1.1 whose body is chunked: net/http
	// takes 4 KiB of trailers, announced or not, and a field may have four bytes.
	chunkedCost = 4 << 10 / 4 * fieldCost
	// maxAccept is the longest Accept that is looked at for the page of a request
	// that there is no memory for.
	maxAccept = 1 << 10
)

// headSize is about how much memory a request's head takes, with the names of trailers in it,
// and the trailers that it announces or, in HTTP/1.1, may have.
func headSize(r *http.Request, h head) int {
	n := fieldCost + len(r.Method) + len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		n += len(name)
		for _, v := range values {
			n += fieldCost + len(v)
		}
	}
	for _, name := range h.spelling {
		n += len(name)
	}
	for name := range r.Trailer { // thousands may be announced in one field, and each try has a map of them
		n += 2*fieldCost + len(name)
	}
	switch {
	case r.ProtoMajor > 1 && r.Trailer != nil:
		n += trailerCost
	case r.ProtoMajor == 1 && r.ContentLength < 0:
		n += chunkedCost
	}
	return n
}

// takeHead takes memory for a request with a head of n bytes, if there is any. The
// caller puts it back with putHead.
func (v *visit) takeHead(n int) bool {
	if n > largeHead {
		if all := v.heads.Add(int64(n)); all > headsVisit && all > int64(n) {
			v.heads.Add(-int64(n))
			return false
		}
	}
	if all := n + requestCost; v.memory.Take(all, all) == all {
		return true
	}
	if n > largeHead {
		v.heads.Add(-int64(n))
	}
	return false
}

func (v *visit) putHead(n int) {
	if n > largeHead {
		v.heads.Add(-int64(n))
	}
	v.memory.Put(n + requestCost)
}

// takeKept takes memory for n bytes of a body, if there is any. What has been
// taken is put back with putKept.
func (v *visit) takeKept(n int) bool {
	if v.kept.Add(int64(n)) > keptVisit || v.memory.Take(n, n) < n {
		v.kept.Add(-int64(n))
		return false
	}
	return true
}

func (v *visit) putKept(n int) {
	v.kept.Add(-int64(n))
	v.memory.Put(n)
}

// overloaded is the page for a request that there is no memory for.
var overloaded = page.Page{
	Status:     http.StatusServiceUnavailable,
	Title:      "Too much at once",
	Text:       "The device behind this name has no memory left for this request. It will have some when others are answered.",
	RetryAfter: 2 * time.Second,
}

// overload answers a request that there is no memory for. It lets go of the head
// first: the visitor may leave the answer unread. Over HTTP/2 it could leave a
// hundred of them, which would take much again, so that there is no page there.
func (x *exchange) overload() {
	r := x.request
	accept := r.Header.Get("Accept")
	r.Header, r.Trailer = make(http.Header), nil // a map that is cleared keeps its size
	r.RequestURI, r.Host, r.Form, x.head = "", "", nil, head{}
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.Opaque, r.URL.Host = "", "", "", "", ""
	if r.ProtoMajor > 1 {
		x.Header().Set("Retry-After", strconv.Itoa(int(overloaded.RetryAfter/time.Second)))
		x.WriteHeader(overloaded.Status)
		return
	}
	if len(accept) <= maxAccept {
		r.Header.Set("Accept", accept)
	}
	overloaded.Write(x, r)
}
