package batch_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"keystay/internal/batch"
)

// What is asked for while something is made is made together afterwards: in the order it
// came, so many at a time, and each caller gets the error of its own.
func TestWhatComesMeanwhileIsMadeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q batch.Queue[int]
		var turns [][]int // guarded by the queue: one caller makes at a time
		goOn := make(chan struct{})
		do := func(n int) error {
			return q.Do(n, 3, func(list []*batch.Entry[int]) {
				var turn []int
				for _, e := range list {
					turn = append(turn, e.Make)
					if e.Make%2 == 1 {
						e.Err = fmt.Errorf("%d is odd", e.Make)
					}
				}
				turns = append(turns, turn)
				<-goOn
			})
		}
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				err := do(n)
				if odd := n%2 == 1; odd != (err != nil) || odd && err.Error() != fmt.Sprintf("%d is odd", n) {
					t.Errorf("%d: got %v", n, err)
				}
			})
			synctest.Wait()
		}
		close(goOn)
		wg.Wait()
		if got := fmt.Sprint(turns); got != "[[0] [1 2 3] [4 5 6] [7]]" {
			t.Errorf("got turns %s", got)
		}
		if err := do(8); err != nil {
			t.Errorf("after all: %v", err)
		}
	})
}

// A panic ends the callers whose entries were being made, and not the queue.
func TestPanicLeavesTheQueueAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q batch.Queue[int]
		goOn := make(chan struct{})
		do := func(n int) (err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("panicked")
				}
			}()
			return q.Do(n, 2, func(list []*batch.Entry[int]) {
				<-goOn
				if list[0].Make == 1 {
					panic("a mistake")
				}
			})
		}
		var wg sync.WaitGroup
		for n, want := range []error{nil, errors.New("panicked"), batch.ErrPanic, nil} {
			wg.Go(func() {
				if err := do(n); fmt.Sprint(err) != fmt.Sprint(want) {
					t.Errorf("%d: got %v, want %v", n, err, want)
				}
			})
			synctest.Wait()
		}
		close(goOn)
		wg.Wait()
	})
}

// The example adds up amounts, and refuses those below zero.
func ExampleQueue_Do() {
	var q batch.Queue[int]
	sum := 0
	add := func(n int) error {
		return q.Do(n, 64, func(list []*batch.Entry[int]) {
			for _, e := range list {
				if e.Make < 0 {
					e.Err = errors.New("an amount below zero")
					continue
				}
				sum += e.Make
			}
		})
	}
	var errs []error
	for _, n := range []int{3, -1, 4} {
		errs = append(errs, add(n))
	}
	fmt.Println(sum, errs)
	// Output: 7 [<nil> an amount below zero <nil>]
}
