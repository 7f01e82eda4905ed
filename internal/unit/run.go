//go:build !windows

package unit

import (
	"context"
	"os"
	"runtime"
	"slices"
)

// Run runs a program's main function, which returns its exit code, and returns the one for
// the unit's manager. The context that it gets ends when the manager of Windows wants it to
// stop; elsewhere a signal says that. Launchd is told of success where the exit code is one
// after which the program is not to be started again.
func Run(name string, final []int, main func(context.Context) int) int {
	code := main(context.Background())
	if runtime.GOOS == "darwin" && os.Getenv("XPC_SERVICE_NAME") == name && slices.Contains(final, code) {
		return 0
	}
	return code
}
