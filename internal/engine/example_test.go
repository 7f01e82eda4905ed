package engine_test

import (
	"context"
	"fmt"
	"log"

	"keystay/internal/engine"
)

// The containers of Docker that run, now and after each change.
func ExampleEngine_Follow() {
	follow := func(ctx context.Context) {
		engine.New(engine.DefaultSocket).Follow(ctx, func(list []engine.Container) {
			for _, c := range list {
				fmt.Println(c.Name(), c.State)
			}
		}, func(err error) { log.Print(err) })
	}
	_ = follow
}
