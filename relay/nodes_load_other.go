//go:build !unix

package relay

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
