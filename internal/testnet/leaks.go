package testnet

import "go.uber.org/goleak"

// Lingering leaves out of a search for leaks the connections that package net/http keeps
// for half a second behind an answer for which it has not read the whole request: so
// that the answer is not lost. goleak waits for less.
func Lingering() goleak.Option {
	return goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")
}
