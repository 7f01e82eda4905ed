package domainproof

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Slow returns r with times that a busy machine keeps to.
func Slow(r *Resolver) *Resolver {
	s := *r
	s.limitTime, s.try = time.Minute, 30*time.Second
	return &s
}

// Hasty returns r with a short time for each answer.
func Hasty(r *Resolver) *Resolver {
	s := *r
	s.try = 50 * time.Millisecond
	return &s
}

// Limited returns r with another limit for the whole look-up.
func Limited(r *Resolver, limit time.Duration) *Resolver {
	s := *r
	s.limitTime = limit
	return &s
}

// SystemServers are those that a file names.
func SystemServers(name string) ([]netip.AddrPort, error) { return (&Resolver{conf: name}).servers() }

// Answer reads a packet.
func Answer(packet []byte, q *dns.Msg) (*dns.Msg, bool) { return answer(packet, q) }
