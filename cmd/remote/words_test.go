package main

import (
	"slices"
	"strings"
	"testing"

	"keystay/config"
	"keystay/framing"
	"keystay/internal/hint"
	"keystay/remote"
)

// Whoever gave a token is told that it is not right, and not to get one.
func TestTokenThatWasGivenIsCalledWrong(t *testing.T) {
	for given, want := range map[bool]*hint.Advice{true: hint.TokenWrong, false: hint.TokenWanted} {
		if got := hint.All(finalError(&framing.Denial{Code: framing.DeniedToken}, given)); !slices.Equal(got, want.Do) {
			t.Errorf("given %v: %q, want %q", given, got, want.Do)
		}
	}
}

// A second replica on one device is told to take a copy of the state.
func TestSecondReplicaNeedsACopy(t *testing.T) {
	err := listenError(&config.Remote{Replica: true}, &remote.InUseError{Name: "a.relay.test"})
	if got := hint.All(err); !slices.Equal(got, hint.ReplicaHere.Do) {
		t.Errorf("%q", got)
	}
}

// A name that somebody has is not explained by names that nobody gets.
func TestTakenNameIsNotToldOfReservedOnes(t *testing.T) {
	for _, line := range hint.All(finalError(&framing.Denial{Code: framing.DeniedTaken}, false)) {
		if strings.Contains(line, "reserved") || strings.Contains(line, "token") {
			t.Errorf("%q", line)
		}
	}
}
