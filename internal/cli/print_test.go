package cli_test

import (
	"errors"
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
