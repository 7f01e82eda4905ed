package cli

import (
	"log/slog"
	"time"
)

// tellDrain is how long a drain may take before the log tells of it: one that
// ends at once needs no words.
const tellDrain = 250 * time.Millisecond

// TellDrain logs whom a drain waits for, until when, and how to cut it short, if
// it is not over soon and anybody is left. The caller calls stop when it is over.
func TellDrain(log *slog.Logger, limit time.Duration, visitors func() int) (stop func() bool) {
	until := time.Now().Add(limit)
	return time.AfterFunc(min(tellDrain, limit/2), func() {
		if n := visitors(); n > 0 {
			log.Info("draining", "visitors", n, "for", limit, "until", until.Format(time.TimeOnly),
				"hint", "they may finish until then; a second Ctrl-C or SIGTERM cuts them off")
		}
	}).Stop
}
