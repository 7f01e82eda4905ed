package main

import (
	"net/http"
	"sync/atomic"

	"keystay/remote/publish"
)

// requestCounts are how many requests of visitors are over, by the hundred of the status
// codes that they were answered with: 1 are those over HTTP/1.1 that have switched to
// another protocol, such as to a WebSocket, and 0 those without an answer.
type requestCounts [6]atomic.Int64

// observer returns the observer that counts, or nil where nothing is counted.
func (c *requestCounts) observer() func(*http.Request) func(publish.Answer) {
	if c == nil {
		return nil
	}
	return func(*http.Request) func(publish.Answer) { return c.told }
}

// told takes in what is told of an answer.
func (c *requestCounts) told(a publish.Answer) {
	if class := a.Status / 100; a.Ended && class < len(c) {
		c[class].Add(1)
	}
}

// observers makes one observer of two, of which either may be nil.
func observers(a, b func(*http.Request) func(publish.Answer)) func(*http.Request) func(publish.Answer) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(r *http.Request) func(publish.Answer) {
		first, second := a(r), b(r)
		switch {
		case first == nil:
			return second
		case second == nil:
			return first
		}
		return func(answer publish.Answer) {
			first(answer)
			second(answer)
		}
	}
}
