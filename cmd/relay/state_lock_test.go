package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"keystay/relay/names"
)

// What waits for the end of a relay waits as long as that has its record of names open, or
// the lock of a node, and no longer.
func TestEndIsAwaitedByTheStateDirectory(t *testing.T) {
	for name, open := range map[string]func(dir string) (end func(), err error){
		"a record in the directory": func(dir string) (func(), error) {
			g, err := names.OpenGrants(dir)
			return func() { g.Close() }, err
		},
		"a node": func(dir string) (func(), error) {
			l, err := lockState(dir, time.Minute)
			return func() { l.pause() }, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			end, err := open(dir)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
			defer cancel()
			if err := awaitUnlocked(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while it is there: %v", err)
			}
			end()
			if err := awaitUnlocked(t.Context(), dir); err != nil {
				t.Error(err)
			}
			if end, err := open(dir); err != nil {
				t.Errorf("it is still locked: %v", err)
			} else {
				end()
			}
		})
	}
}
