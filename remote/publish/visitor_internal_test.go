package publish

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A visitor that has ended its side in good order is answered for halfCloseGrace,
// and one that is gone is not.
func TestHalfCloseGrace(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			parent, end := context.WithCancel(t.Context())
			ctx, release := halfCloseContext(parent, func() bool { return gone })
			defer release()
			want := halfCloseGrace
			if gone {
				want = 0
			}
			start := time.Now()
			end()
			<-ctx.Done()
			if took := time.Since(start); took != want {
				t.Errorf("gone %v: the request is given up after %v, want %v", gone, took, want)
			}
		})
	}
}
