// Package publish answers a visitor's request with a local service: what a
// request and its answer lose and gain on the way, and how either's end is
// passed on. It knows nothing of relays.
//
//	local := &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}
//	local.Server(ln.Domain()).Serve(publish.Visitors(ln))
package publish
