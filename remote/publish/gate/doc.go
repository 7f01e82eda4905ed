// Package gate decides on the device which visitors of a public name get to its
// services: by passwords, links that expire, addresses, client certificates, or a
// provider of OpenID Connect. Passwords, links and certificates are read here, behind
// TLS, so that no relay ever sees them.
//
//	store, err := gate.Open(stateDir)
//	g, err := gate.New(gate.Config{Name: "xyz.relay.net", Store: store, Rules: []gate.Rule{{Passwords: users}}})
//	handler = g.Wrap(handler)
//
// A [Store] is for all gates of a process. It has the key that cookies and links are
// signed with, and remembers what has ended.
package gate
