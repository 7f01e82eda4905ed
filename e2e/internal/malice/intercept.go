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

// OneIn picks one visitor in n, by chance: random returns a number from 0 to below 1.
func OneIn(n int, random func() float64) Intercept {
	return func(shape.Shape, netip.Addr, time.Time) bool { return random()*float64(n) < 1 }
}

// During picks all visitors from one time until another.
func During(from, until time.Time) Intercept {
	return func(_ shape.Shape, _ netip.Addr, at time.Time) bool { return !at.Before(from) && at.Before(until) }
}
