package main

import (
	"slices"
	"testing"

	"keystay/framing"
	"keystay/internal/hint"
)

// Whoever gave a token is told that it is not right, and not to get one.
func TestTokenThatWasGivenIsCalledWrong(t *testing.T) {
	for given, want := range map[bool]*hint.Advice{true: hint.TokenWrong, false: hint.TokenWanted} {
		if got := hint.All(finalError(&framing.Denial{Code: framing.DeniedToken}, given)); !slices.Equal(got, want.Do) {
			t.Errorf("given %v: %q, want %q", given, got, want.Do)
		}
	}
}
