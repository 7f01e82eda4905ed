package framing_test

import (
	"fmt"
	"io"
	"testing"

	"keystay/framing"
)

func TestEnding(t *testing.T) {
	for want, err := range map[string]error{
		"closed by this side":            framing.ErrClosed,
		"closed by the other side":       io.EOF,
		"the other side has gone silent": framing.ErrSilent,
		"read from the link: EOF":        fmt.Errorf("read from the link: %w", io.EOF),
		"it has not ended":               nil,
	} {
		if got := framing.Ending(err); got != want {
			t.Errorf("%v is %q", err, got)
		}
	}
}
