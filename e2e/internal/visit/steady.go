package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// steadyVisitors is how many visitors there are at once, each of which comes again
	// as soon as it has its answer.
	steadyVisitors = 3
	// steadyEvery is how often one comes again at most, not to take the processors from
	// the programs.
	steadyEvery = 20 * time.Millisecond
	// steadyTells is after how many answers each line on stdout comes.
	steadyTells = 20
)

// steady visits a URL again and again, each time with a connection of its own, until
// SIGTERM. It fails with the first visit that does not get a whole answer with status
// 200.
func (v *visitor) steady(ctx context.Context, args []string) error {
	rest, err := v.parse(args, 1)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	var answered atomic.Int64
	failed := make(chan error, steadyVisitors)
	var wg sync.WaitGroup
	for range steadyVisitors {
		wg.Go(func() {
			tick := time.NewTicker(steadyEvery)
			defer tick.Stop()
			for range tick.C {
				if ctx.Err() != nil {
					return
				}
				if err := v.once(rest[0]); err != nil {
					failed <- err
					stop()
					return
				}
				if n := answered.Add(1); n%steadyTells == 0 {
					fmt.Fprintf(os.Stdout, "%d answered\n", n)
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("after %d answers: %w", answered.Load(), err)
	default:
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	fmt.Fprintf(os.Stdout, "%d answered in all\n", answered.Load())
	return nil
}

// once is one visit. What has begun is brought to its end.
func (v *visitor) once(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client, err := v.client(false, false, nil)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}
