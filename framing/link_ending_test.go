package framing_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"keystay/framing"
	"keystay/internal/memconn"
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

// A link that is closed before its remote is let in, as by a relay that ends, lets nobody in.
func TestLinkThatIsClosedLetsNobodyIn(t *testing.T) {
	a, b := memconn.Pipe(0)
	defer b.Close()
	go b.Write(helloRecord())
	l, _, err := framing.Server(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	handler := framing.Handler{
		Welcomed: func() { t.Error("the remote is let in") },
		Over:     func() { t.Error("Over is called, though Welcome has failed") },
	}
	if err := l.Welcome(framing.Welcome{}, handler); !errors.Is(err, framing.ErrClosed) {
		t.Errorf("Welcome: %v", err)
	}
}
