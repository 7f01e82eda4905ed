package unheard_test

import (
	"errors"
	"testing"

	"keystay/internal/unheard"
)

// No more is read than was set last, and without a bound all is.
func TestNoMoreIsReadThanWasSet(t *testing.T) {
	var b unheard.Bound
	p := make([]byte, 10)
	read := func(want int) {
		t.Helper()
		got, err := b.Within(p)
		if len(got) != want || (err == nil) != (want > 0) || err != nil && !errors.Is(err, unheard.Err) {
			t.Errorf("%d bytes, %v, want %d", len(got), err, want)
		}
		b.Took(len(got))
	}
	read(10)
	b.Set(15)
	read(10)
	read(5)
	read(0)
	b.Set(10)
	read(10)
	read(0)
	b.Lift()
	read(10)
}
