//go:build !unix

package screen

import (
	"os"
	"os/exec"
)

// canSuspend says that a shell can stop the program and let it go on.
const canSuspend = false

func suspend(<-chan os.Signal) {}

func awaitForeground(*os.File, <-chan struct{}) bool { return true }

func hearGoesOn(chan os.Signal) {}

// IsForeground reports whether this process is one of those that a terminal is for now.
func IsForeground(*os.File) bool { return true }

func apart(*exec.Cmd) {}
