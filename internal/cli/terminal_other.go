//go:build !unix

package cli

import (
	"os"

	"golang.org/x/term"
)

// onTerminal reports whether stdin, stdout or stderr is a terminal.
func onTerminal() bool {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if term.IsTerminal(int(f.Fd())) {
			return true
		}
	}
	return false
}
