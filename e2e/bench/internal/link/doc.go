//go:build linux

// Package link makes networks for the benchmark: namespaces, and links between
// them that have a delay, a rate, a queue and a loss. The kernel's TCP runs over
// them. A link is a TUN device at each end and a process that carries the
// packets from one to the other; it needs root and /dev/net/tun, nothing else.
package link
