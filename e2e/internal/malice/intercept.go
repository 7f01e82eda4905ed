package malice

import (
	"net/netip"
	"slices"
	"time"

	"keystay/e2e/internal/shape"
)

// An Intercept says whether the front listens in on a visitor, from all that it knows
// of it before it answers: the hello's shape, the address and the time. It is called
// by one goroutine at a time.
type Intercept func(hello shape.Shape, from netip.Addr, at time.Time) bool

// Everyone picks all visitors.
func Everyone(shape.Shape, netip.Addr, time.Time) bool { return true }

// AllBut picks visitors that come from none of the addresses: those that a device's
// probes have, since its link to the relay comes from there too.
func AllBut(addrs ...netip.Addr) Intercept {
	return func(_ shape.Shape, from netip.Addr, _ time.Time) bool { return !slices.Contains(addrs, from) }
}

// OnlyBrowsers picks visitors whose hello is one of a browser.
func OnlyBrowsers(hello shape.Shape, _ netip.Addr, _ time.Time) bool { return hello.LooksLikeBrowser() }

// OnlyOthers picks visitors whose hello is none of a browser: programs, and what an
// app of a phone sends.
func OnlyOthers(hello shape.Shape, _ netip.Addr, _ time.Time) bool { return !hello.LooksLikeBrowser() }

// OnlyJA4 picks visitors whose hello has one of the fingerprints, as one release of one
// browser has it.
func OnlyJA4(fingerprints ...string) Intercept {
	return func(hello shape.Shape, _ netip.Addr, _ time.Time) bool {
		return slices.Contains(fingerprints, hello.JA4())
	}
}

// OneIn picks one visitor in n, by chance: random returns a number from 0 to below 1.
func OneIn(n int, random func() float64) Intercept {
	return func(shape.Shape, netip.Addr, time.Time) bool { return random()*float64(n) < 1 }
}

// During picks all visitors from one time until another.
func During(from, until time.Time) Intercept {
	return func(_ shape.Shape, _ netip.Addr, at time.Time) bool { return !at.Before(from) && at.Before(until) }
}

// Wary picks all visitors but those from the addresses, and for a while after each of
// these nobody: who probes from one address may be about to do so from another.
func Wary(pause time.Duration, addrs ...netip.Addr) Intercept {
	var last time.Time
	return func(_ shape.Shape, from netip.Addr, at time.Time) bool {
		if slices.Contains(addrs, from) {
			last = at
			return false
		}
		return at.Sub(last) >= pause
	}
}

// Between picks all visitors from one time until another one after each that comes from
// the addresses, and not those: who knows when a probe has been may know for how long there
// is none.
func Between(from, until time.Duration, addrs ...netip.Addr) Intercept {
	var last time.Time
	return func(_ shape.Shape, who netip.Addr, at time.Time) bool {
		if slices.Contains(addrs, who) {
			last = at
			return false
		}
		since := at.Sub(last)
		return since >= from && since < until
	}
}
