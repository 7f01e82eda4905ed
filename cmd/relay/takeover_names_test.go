//go:build linux || darwin || freebsd

package main

import "testing"

// What other nodes claim is told to the old process where it had the name, and not else:
// a whole snapshot would be more than it takes.
func TestOldProcessHearsOfItsOwnNames(t *testing.T) {
	s := &takeover{served: map[string]bool{"a.relay.test": true}}
	if !s.had("a.relay.test") || s.had("b.relay.test") {
		t.Error("it is told of the wrong names")
	}
}
