package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// showStart says that the name answers: on a terminal a screen for a person,
// elsewhere exactly one line for a program. Brought says that the certificate
// was not obtained from a CA by this program.
func showStart(out *os.File, url, local string, brought bool) {
	if !term.IsTerminal(int(out.Fd())) {
		fmt.Fprintf(out, "%s -> %s\n", url, local)
		return
	}
	screen(out, url, local, brought)
}

func screen(w io.Writer, url, local string, brought bool) {
	logged := "is public from now on, in the logs of certificate transparency"
	if brought {
		logged = "is public if a public CA has issued the certificate"
	}
	fmt.Fprintf(w, `%s -> %s

  Key and certificate   on this device only; the relay passes encrypted bytes on
  Public path           not checked yet: open the address to see it
  The name              %s
  To stop               Ctrl-C

`, url, local, logged)
}
