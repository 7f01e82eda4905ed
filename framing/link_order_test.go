package framing_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// The answer to a question for a turn that nobody waits for any more is none to the next one.
func TestLateTurnIsNoAnswerToTheNextQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		asked := 0
		relay, remote := links(t, a, b, framing.Handler{Order: func(_ string, begins bool) bool {
			if !begins {
				return false
			}
			if asked++; asked == 1 {
				time.Sleep(2 * time.Second)
			}
			return asked == 1
		}}, framing.Handler{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if granted, err := remote.Order(ctx, "a.relay.test"); granted || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the first question: %v, %v", granted, err)
		}
		remote.OrderDone("a.relay.test")
		if granted, err := remote.Order(t.Context(), "a.relay.test"); granted || err != nil {
			t.Errorf("the second question: %v, %v", granted, err)
		}
		relay.Close()
	})
}

// A relay that answers no question for a turn is asked few.
func TestSilentRelayIsAskedForFewTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		asked, answers := 0, make(chan struct{})
		relay, remote := links(t, a, b, framing.Handler{Order: func(string, bool) bool {
			asked++
			<-answers
			return true
		}}, framing.Handler{})
		for range 3 * framing.MaxUnanswered {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if granted, err := remote.Order(ctx, "a.relay.test"); granted || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, %v", granted, err)
			}
			cancel()
		}
		close(answers)
		synctest.Wait()
		if asked != framing.MaxUnanswered {
			t.Errorf("%d questions", asked)
		}
		if granted, err := remote.Order(t.Context(), "a.relay.test"); !granted || err != nil {
			t.Errorf("when it answers: %v, %v", granted, err)
		}
		relay.Close()
	})
}
