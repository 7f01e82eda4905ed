// Package record keeps the record of names in etcd, for a relay that runs on several
// machines: a [Record] is a [names.Store] that all nodes of the relay share. It has the
// list of the nodes and their audit log, too.
//
// What lies in etcd is what must not fork, and no more: each entry of the tables of
// [names.Kept] is one key, and the head is one. A node has a copy of all of it in
// memory, follows its changes by a watch, and reads that copy alone. A transaction is
// made on the copy and is written by one transaction of etcd, which takes place only if
// the head is still the one that it was made on. So of two transactions at once, on
// whichever nodes, the later one sees all of the first. One with more changes than etcd
// takes at once is staged: its changes are written beside the record, and the head names
// them. From then on they count, everywhere and all of them; the entries follow.
//
// The head carries the record's time, and a MAC of it and of all entries, by a key that
// the nodes have and etcd does not. So whoever can write to etcd, and has not the key,
// changes nothing that a node believes: it can only end the giving out of names. It can
// read all of it.
//
// The record's time goes on while a node runs, by monotonic clocks: no machine's
// wall clock moves it. While no node runs it stands still.
//
// While etcd is away a node reads on, and Update fails with an error that wraps
// [names.ErrClosed].
package record
