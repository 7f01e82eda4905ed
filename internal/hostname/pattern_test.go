package hostname_test

import (
	"testing"

	"keystay/internal/hostname"
)

// A pattern is a label with stars, or a whole name below the zone; anything else is
// refused.
func TestPatternIsALabelOrANameBelowTheZone(t *testing.T) {
	for in, want := range map[string]string{
		"www": "www", " WWW. ": "www", "mail*": "mail*", "*": "*", "a*b*c": "a*b*c", "www.relay.test": "www",
		"*.team.relay.test": "*.team", "bücher": "xn--bcher-kva", "x-y": "x-y",
		"": "", ".": "", "a.b": "", "www.other.test": "", "a b": "", "-a": "", "a_b": "", "?": "", "relay.test": "", "www..relay.test": "", "*.relay.test.": "*",
	} {
		got, err := hostname.Pattern(in, "relay.test")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}
