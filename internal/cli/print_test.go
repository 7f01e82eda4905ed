package cli_test

import (
	"errors"
	"strings"
	"testing"

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
