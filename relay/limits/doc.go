// Package limits bounds what one part of the internet may take of a relay, so that
// something is left for the others: by the address that a connection comes from,
// and by the identity and the name that a visitor's stream leads to.
//
// It decides and counts; it closes nothing but a hello that has to go, and it has
// no goroutine of its own. All of its tables are bounded, whatever comes.
package limits
