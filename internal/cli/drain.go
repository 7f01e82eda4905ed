package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// tellDrain is how long a drain may take before the log tells of it: one that
// ends at once needs no words.
const tellDrain = 250 * time.Millisecond

// TellDrain logs whom a drain waits for, until when, and how to cut it short, if
// it is not over soon and anybody is left. A limit of 0 needs no words. The caller calls stop when it is over.
func TellDrain(log *slog.Logger, limit time.Duration, visitors func() int) (stop func() bool) {
	if limit <= 0 {
		return func() bool { return false }
	}
	until := time.Now().Add(limit)
	return time.AfterFunc(min(tellDrain, limit/2), func() {
		if n := visitors(); n > 0 {
			log.Info("draining", "visitors", n, "for", limit, "until", until.Format(time.TimeOnly),
				"hint", "they may finish until then; a second Ctrl-C or SIGTERM cuts them off")
		}
	}).Stop
}

// CutReason returns why a drain of at most limit ended with visitors there, in
// words for people, where err is the end of its context.
func CutReason(err error, limit time.Duration) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("a second signal ended the wait")
	case errors.Is(err, context.DeadlineExceeded) && limit <= 0:
		return errors.New("drain-timeout is 0s")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("they had not finished after %v", limit)
	}
	return err
}
