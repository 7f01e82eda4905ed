// Package framing is the wire protocol between a remote and a relay.
//
// PROTOCOL.md beside this file is its specification. In short: over one TLS 1.3
// connection run link records (HELLO, CLAIM, PING, GOAWAY, …). Among them, from
// the first visitor on, run the frames of a smux session, in which the relay
// opens one stream per visitor. Inside each stream run stream records, which
// give it what smux does not have: ends and resets that arrive, and credit, so
// that no slow reader stalls another stream. The few frames that are left are
// written and read here; smux itself is a peer in the tests.
//
// A [Link] is one end of such a connection, a [Stream] one end of a visitor's
// connection in it, and a [Lane] a TCP connection of its own that a stream can
// move to.
package framing
