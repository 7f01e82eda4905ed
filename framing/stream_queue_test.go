package framing_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// What is queued waits for Flush, for an end, or for anything else that the link sends,
// a RESET too.
func TestQueuedIsSentByFlushOrAlongWithOthers(t *testing.T) {
	for name, then := range map[string]func(v, other *framing.Stream){
		"Flush":        func(v, _ *framing.Stream) { v.Flush() },
		"another one":  func(_, other *framing.Stream) { other.Write([]byte("y")) },
		"an end":       func(v, _ *framing.Stream) { v.CloseWrite() },
		"another part": func(v, _ *framing.Stream) { v.Write([]byte("z")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, _, _ := memLinks(t)
				v, d := open(t, relay, remote, "x")
				other, _ := open(t, relay, remote, "x")
				// The writer has ended: one that still runs would take the queued
				// bytes along.
				synctest.Wait()
				got := make(chan string, 1)
				go func() {
					b := make([]byte, 4)
					_, err := io.ReadFull(d, b)
					if err != nil {
						t.Error(err)
					}
					got <- string(b)
				}()
				if n := v.Queue([]byte("ab")) + v.Queue([]byte("c")); n != 3 {
					t.Fatalf("%d bytes queued", n)
				}
				synctest.Wait()
				select {
				case b := <-got:
					t.Fatalf("%q came at once", b)
				default:
				}
				then(v, other)
				if b := <-got; b != "xabc" {
					t.Errorf("%q came", b)
				}
			})
		})
	}
}

func TestResetIsSentBehindWhatWasQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _, _ := memLinks(t)
		v, d := open(t, relay, remote, "x")
		v.Queue([]byte("abc"))
		v.Reset()
		var reset *framing.ResetError
		if _, err := io.Copy(io.Discard, d); !errors.As(err, &reset) {
			t.Errorf("the other side got %v", err)
		}
		if n := v.Queue([]byte("d")); n != 0 {
			t.Errorf("%d bytes were queued on a stream that is over", n)
		}
	})
}
