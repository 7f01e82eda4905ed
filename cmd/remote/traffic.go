package main

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"keystay/cmd/remote/screen"
	"keystay/internal/plain"
	"keystay/internal/probe"
	"keystay/internal/statement"
	"keystay/internal/urlpath"
	"keystay/remote/publish"
)

const (
	// keptRequests is how many requests the screen knows.
	keptRequests = 200
	// keptSeconds is how many bars its graph may have.
	keptSeconds = 300
	// keptPath is how many bytes of a path it knows, and keptMethod how many of a method.
	keptPath, keptMethod = 512, 32
)

// A traffic is the requests of visitors lately, as far as the screen shows them. It keeps
// no header, no query and no address.
type traffic struct {
	now func() time.Time

	mu       sync.Mutex
	sites    int               // whose requests are observed
	requests []*screen.Request // the newest last
	total    int
	seconds  [keptSeconds]int // how many began in a second, by its number
	last     int64            // the newest of these numbers
}

// observer returns the observer of a name's site. Asked says that other remotes may put
// their questions there, so that no service has these.
func (t *traffic) observer(name string, asked bool) func(*http.Request) func(publish.Answer) {
	t.mu.Lock()
	t.sites++
	t.mu.Unlock()
	return func(r *http.Request) func(publish.Answer) {
		if isOwn(r, asked) {
			return nil
		}
		// Both are parts of what package net/http has read: without a copy all of that stays.
		method, path := strings.Clone(plain.Cut(methodOf(r), keptMethod)), strings.Clone(plain.Cut(r.URL.EscapedPath(), keptPath))
		return t.begin(&screen.Request{Name: name, Method: method, Path: path})
	}
}

// isOwn reports whether a request is about the name, so that no service has it.
func isOwn(r *http.Request, asked bool) bool {
	path, _, _ := urlpath.Target(r)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return path == statement.Path
	case http.MethodPost:
		return asked && path == probe.Path
	}
	return false
}

// methodOf is the method of a request, or WS where it is for a WebSocket, in which way
// ever (RFC 6455, RFC 8441).
func methodOf(r *http.Request) string {
	if r.Method == http.MethodConnect && len(r.Header[":protocol"]) > 0 || strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return "WS"
	}
	return r.Method
}

// begin takes in a request, and returns the function that is told of its answer.
func (t *traffic) begin(r *screen.Request) func(publish.Answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Began = t.now()
	t.advance(r.Began)
	t.seconds[t.last%keptSeconds]++
	t.total++
	if t.requests = append(t.requests, r); len(t.requests) > keptRequests {
		t.requests = append(t.requests[:0], t.requests[1:]...)
	}
	return func(a publish.Answer) {
		t.mu.Lock()
		defer t.mu.Unlock()
		r.Status, r.Ended, r.Cut = a.Status, a.Ended, a.Cut
		if a.Ended {
			r.Took = t.now().Sub(r.Began)
		}
	}
}

// advance empties the seconds up to a time in which nothing has begun.
func (t *traffic) advance(to time.Time) {
	now := to.Unix()
	for t.last = max(t.last, now-keptSeconds); t.last < now; {
		t.last++
		t.seconds[t.last%keptSeconds] = 0
	}
}

// shown is what the screen shows now.
func (t *traffic) shown() screen.Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := screen.Traffic{HTTP: t.sites > 0, Total: t.total}
	for _, r := range t.requests {
		s.Requests = append(s.Requests, *r)
	}
	t.advance(t.now())
	for i := t.last - keptSeconds + 1; i <= t.last; i++ {
		s.Seconds = append(s.Seconds, t.seconds[i%keptSeconds])
	}
	return s
}
