package main

import (
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"keystay/remote/publish"
)

// observed is a traffic whose clock stands until it is moved.
func observed() (tr *traffic, clock *time.Time) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	tr = &traffic{now: func() time.Time { return now }}
	return tr, &now
}

// A request is known from its beginning on, with its path and nothing else of its target.
func TestTrafficKnowsRequestsWithoutTheirQuery(t *testing.T) {
	tr, clock := observed()
	see := tr.observer("xyz.relay.net", true)
	if got := tr.shown(); !got.HTTP || got.Total != 0 {
		t.Errorf("%+v", got)
	}
	told := see(httptest.NewRequest("GET", "/a%1b%5b2Jb/?token=secret", nil))
	if r := tr.shown().Requests[0]; r.Path != "/a%1b%5b2Jb/" || r.Name != "xyz.relay.net" || r.Status != 0 || r.Ended {
		t.Errorf("%+v", r)
	}
	told(publish.Answer{Status: 200})
	*clock = clock.Add(3 * time.Second)
	told(publish.Answer{Status: 200, Written: 5, Ended: true})
	if r := tr.shown().Requests[0]; r.Status != 200 || !r.Ended || r.Took != 3*time.Second {
		t.Errorf("%+v", r)
	}
	for _, header := range []string{"Upgrade: WebSocket", ":protocol: websocket"} {
		r := httptest.NewRequest("GET", "/", nil)
		name, value, _ := strings.Cut(header, ": ")
		if strings.HasPrefix(header, ":") {
			r.Method, name, value = "CONNECT", ":protocol", "websocket"
		}
		r.Header[name] = []string{value}
		see(r)
		if all := tr.shown().Requests; all[len(all)-1].Method != "WS" {
			t.Errorf("%s: %s", header, all[len(all)-1].Method)
		}
	}
	for _, own := range []string{"GET /.well-known/keystay", "HEAD /.well-known/keystay?x", "POST /.well-known/keystay/probe"} {
		if method, path, _ := strings.Cut(own, " "); see(httptest.NewRequest(method, path, nil)) != nil {
			t.Errorf("%s is shown, which no service has", own)
		}
	}
	for _, other := range []string{"POST /.well-known/keystay", "GET /.well-known/%6beystay", "GET /.well-known/keystay/probe", "POST /.well-known/keystay/%70robe"} {
		if method, path, _ := strings.Cut(other, " "); see(httptest.NewRequest(method, path, nil)) == nil {
			t.Errorf("%s is not shown, which a service has", other)
		}
	}
	if tr.observer("b", false)(httptest.NewRequest("POST", "/.well-known/keystay/probe", nil)) == nil {
		t.Error("a question is not shown, which a service has where none are answered")
	}
}

// What is kept of a request holds nothing else of it in memory, such as its query.
func TestTrafficHoldsNothingElseOfARequest(t *testing.T) {
	tr, _ := observed()
	see := tr.observer("a", false)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range keptRequests {
		line := strings.Repeat("A", 20000) + " /x?" + strings.Repeat("y", 30000+i)
		method, target, _ := strings.Cut(line, " ") // as package net/http reads it
		r := httptest.NewRequest("GET", target, nil)
		r.Method = method
		see(r)
	}
	if n := int64(heap()) - int64(before); n > 4<<20 {
		t.Errorf("%d requests hold %d bytes", keptRequests, n)
	}
	if r := tr.shown().Requests[0]; r.Path != "/x" || len(r.Method) > keptMethod {
		t.Errorf("%d bytes of a method, path %q", len(r.Method), r.Path)
	}
}

// Whatever comes, no more is kept than the screen may show, and the graph has each second.
func TestTrafficIsBounded(t *testing.T) {
	tr, clock := observed()
	see := tr.observer("a", false)
	first := see(httptest.NewRequest("GET", "/first", nil))
	for i := range 3 * keptRequests {
		see(httptest.NewRequest("GET", "/"+strings.Repeat("x", 4096), nil))
		if i%100 == 99 {
			*clock = clock.Add(time.Second)
		}
	}
	first(publish.Answer{Status: 500, Ended: true}) // it has gone
	got := tr.shown()
	if len(got.Requests) != keptRequests || got.Total != 3*keptRequests+1 || len(got.Requests[0].Path) > keptPath {
		t.Errorf("%d requests of %d, path of %d", len(got.Requests), got.Total, len(got.Requests[0].Path))
	}
	if n := len(got.Seconds); n != keptSeconds || got.Seconds[n-1] != 0 || got.Seconds[n-2] != 100 || got.Seconds[n-7] != 101 || got.Seconds[n-8] != 0 {
		t.Errorf("%d seconds: %v", n, got.Seconds[max(0, n-9):])
	}
	*clock = clock.Add(1000 * time.Hour)
	for _, n := range tr.shown().Seconds {
		if n != 0 {
			t.Fatal("it remembers what is over")
		}
	}
}
