package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"keystay/config"
	"keystay/framing"
	"keystay/internal/cli"
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

// What may pass is no refusal for good, also where --wait is over meanwhile.
func TestDenialForNowIsNoRefusal(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int // 0 is that of any other error
	}{
		{&framing.Denial{Code: framing.DeniedUnproven}, 0},
		{&framing.Denial{Code: framing.DeniedUnavailable}, 0},
		{&framing.Denial{Code: framing.DeniedLimit}, 0},
		{&framing.Refusal{Code: framing.RefusedBusy}, 0},
		{&framing.Denial{Code: framing.DeniedToken}, cli.ExitRefused},
		{&framing.Denial{Code: framing.DeniedReplaced}, cli.ExitReplaced},
		{&framing.Refusal{Code: framing.RefusedProof}, cli.ExitRefused},
	} {
		code := 0
		var coded *cli.Error
		if errors.As(finalError(fmt.Errorf("no session: %w", c.err), false), &coded) {
			code = coded.Code
		}
		if code != c.code {
			t.Errorf("%#v: exit code %d, want %d", c.err, code, c.code)
		}
	}
}

// Whoever asks for the name made from the key is not told to ask for it.
func TestNameMadeFromTheKeyIsNoWayOutOfItself(t *testing.T) {
	name := "a4lv7c5gqsmz4vkjiqsts232p5eloqr6.relay.test"
	for _, code := range []framing.DenialCode{framing.DeniedToken, framing.DeniedClosed} {
		if got := hint.All(finalError(&framing.Denial{Name: name, Code: code}, false)); len(got) > 0 {
			t.Errorf("code %d: %q", code, got)
		}
	}
}
