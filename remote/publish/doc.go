// Package publish answers a visitor's request with a local service: what a
// request and its answer lose and gain on the way, and how either's end is
// passed on. It knows nothing of relays.
//
//	local := &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}
//	local.Server(ln.Domain()).Serve(publish.Visitors(ln))
//
// A [Site] does so for several services and handlers, by the path of a request.
//
// WebSockets over HTTP/2 are taken where the program runs with
// GODEBUG=http2xconnect=1 in its environment; else browsers open them over HTTP/1.1.
package publish
