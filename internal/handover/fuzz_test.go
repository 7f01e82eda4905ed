//go:build linux || darwin || freebsd

package handover

import (
	"slices"
	"testing"
)

// A line is one of those that are expected, or an error.
func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"op":"takeover","version":1,"pid":7}`))
	f.Add([]byte(`{"op":"names","names":["a.relay.test"]}`))
	f.Add([]byte(`{"op":"visitor","first":"FgMB"}`))
	f.Add([]byte(`{"op":"error","error":"\u0000"}`))
	f.Add([]byte("null"))
	ops := []string{"takeover", "names", "visitor"}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parse(line, ops)
		if err == nil && !slices.Contains(ops, m.Op) {
			t.Errorf("%q: %+v", line, m)
		}
	})
}
