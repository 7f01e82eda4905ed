//go:build !unix

package screen

import (
	"os"
	"time"
)

// guardWait is how long the guard may take to begin.
const guardWait = 0

func guard(*os.File, string, time.Duration) (release func()) { return func() {} }

// StandGuard has nothing to do here.
func StandGuard() {}
