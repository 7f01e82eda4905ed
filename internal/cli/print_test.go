package cli_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// What a relay or a certificate has said cannot steer the terminal.
func TestPrintShowsNothingThatDoesNotPrint(t *testing.T) {
	var out strings.Builder
	err := hint.FileMissing.Error(errors.Join(errors.New("a\x1b[2Jb"), errors.New("c\u202ed\r")), "FILE", "\x1b]0;owned\a")
	cli.Print(&out, "remote", err)
	if want := "remote: a [2Jb\nc d\nhint: check the path  ]0;owned \n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// What Ctrl-C has ended says so, in whichever words it came, and with one code.
func TestInterruptedIsSaidInOneWord(t *testing.T) {
	for _, err := range []error{context.Canceled, fmt.Errorf("look up: %w", context.Canceled), cli.Usage(context.Canceled)} {
		var out strings.Builder
		cmd := cli.Root(&cobra.Command{Use: "relay", RunE: func(*cobra.Command, []string) error { return err }})
		cmd.SetArgs([]string{})
		cmd.SetErr(&out)
		if code := cli.Main(cmd); code != cli.ExitFailed || out.String() != "relay: interrupted\n" {
			t.Errorf("%v: exit code %d, %q", err, code, out.String())
		}
	}
}

// Libraries print what a service has sent: net/http does so of bytes that it did
// not ask for.
func TestLibrariesPrintNothing(t *testing.T) {
	before := log.Writer()
	defer log.SetOutput(before)
	var out strings.Builder
	log.SetOutput(&out)
	cmd := cli.Root(&cobra.Command{Use: "relay", Run: func(*cobra.Command, []string) { log.Print("Unsolicited response") }})
	cmd.SetArgs([]string{})
	if code := cli.Main(cmd); code != 0 || out.Len() > 0 {
		t.Errorf("exit code %d, %q", code, out.String())
	}
}
