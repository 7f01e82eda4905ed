package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// showStart says that the name answers: on a terminal a screen for a person,
// elsewhere exactly one line for a program.
func showStart(out *os.File, url, local string) {
	if !term.IsTerminal(int(out.Fd())) {
		fmt.Fprintf(out, "%s -> %s\n", url, local)
		return
	}
	screen(out, url, local)
}

func screen(w io.Writer, url, local string) {
	fmt.Fprintf(w, `%s -> %s

  Key and certificate   on this device only; the relay passes encrypted bytes on
  Public path           not checked yet: open the address to see it
  The name              is public from now on, in the logs of certificate transparency
  To stop               Ctrl-C

`, url, local)
}
