// Package framing is the wire protocol between a remote and a relay.
//
// PROTOCOL.md beside this file is its specification. In short: over one TLS 1.3
// connection run link records (HELLO, CLAIM, PING, GOAWAY, …). Among them, from
// the first visitor on, run the frames of a smux session, in which the relay
// opens one stream per visitor. Inside each stream run stream records, which
// give it what smux does not have: resets, which differ from ends, and credit
// that a sender is held to, so that no slow reader stalls another stream. The
// frames of smux are written and read here; smux's own code is the peer in the
// tests, at either end.
//
// A [Link] is one end of such a connection, a [Stream] one end of a visitor's
// connection in it, and a [Lane] a TCP connection of its own that a stream can
// move to.
//
// The files sort by what they belong to:
//
//   - wire_record.go, wire_message.go, wire_claim.go, wire_header.go, proof.go: what
//     the records are, and what is in them
//   - link.go: a link from hello on, link_end.go its end. link_read.go reads it and
//     hands its records on, link_write.go writes it, link_streams.go is its table of streams,
//     link_goaway.go its end in good order, link_ask.go and link_claim.go are the
//     claims of both sides and rules.go the visitors that a claim is for,
//     link_order.go its turns, link_liveness.go its pings and the end of a silent one
//   - smux.go: the frames of the session
//   - stream.go: a stream as a net.Conn, its close, its reset and its end.
//     stream_state.go says how far it has come, stream_parse.go takes apart what
//     comes, stream_read.go keeps it until it is read, stream_write.go queues what
//     goes, which stream_out.go puts into frames. stream_credit.go has the windows and
//     the memory that bounds them
//   - lane.go: a lane from JOIN to BOUND at the remote, lane_relay.go at the relay.
//     lane_link.go is what a link knows of lanes, lane_move.go moves a stream,
//     lane_notice.go says which is worth it, lane_bare.go leaves TLS
//   - buffered.go, buffered_write.go: the connection below TLS. websocket.go: a
//     link in a WebSocket
package framing
