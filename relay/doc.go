// Package relay is the public end of keystay: it reads the server name of each
// visitor's ClientHello and passes the still encrypted bytes to the remote that
// holds the name.
//
// A [Server] holds no key for any remote's name. It ends TLS for its own name
// alone: there remotes link to it, and people find a page about it.
//
// Package names, below this one, decides whose a name is. Where the remote of a
// name is connected now is known here.
package relay
