// Package cluster makes several machines one relay. Each runs a node; the nodes find each
// other in a [Directory], and each pair of them keeps one connection on which they tell
// what is connected where, see PROTOCOL.md. What must not fork is not told between nodes:
// it is in the record of names that they share.
//
// Nodes trust each other by certificates of a CA of their own. Whoever has one of these
// can have every visitor of the relay; whoever has access to the directory alone gets no
// connection.
package cluster
