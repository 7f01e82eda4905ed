//go:build linux

// Package link makes networks for the benchmark and for tests: namespaces, and
// links between them that have a delay, a rate, a queue and a loss, or a switch
// that parts them. The kernel's TCP runs over them. A link is a TUN device at each
// end and a process that carries the packets from one to the other; a switch is one
// in each namespace, and the test's own process carries. They need root and
// /dev/net/tun, nothing else.
//
// Each packet is read as the kernel sends it. Where the queue is full, or chance
// will have it, it is dropped; else it leaves when the packets before it have
// left at the link's rate, and arrives after the delay. Nothing is reordered. A
// switch hands packets on at once.
package link
