// Package operator has the levers of whoever runs a relay: an HTTP API with JSON on
// a unix socket, its client, and the log of what was done with them.
//
// [Server] answers the API, to the user who runs the relay and to root; what it does
// it asks of the [Relay] and the other parts that it is given. [Client] asks it, as
// the subcommands of the relay do. [Audit] is the log. docs/control-api.md describes
// the API for programs in other languages.
package operator
