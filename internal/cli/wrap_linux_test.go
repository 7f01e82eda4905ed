package cli_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// The last words of a program are not broken by the terminal in mid-word.
func TestPrintWrapsOnATerminal(t *testing.T) {
	err := hint.FileMissing.Error(errors.Join(errors.New("the one line that has more than twenty columns"), errors.New("/a/path/of/more/than/20")), "FILE", "/x")
	whole := "remote: the one line that has more than twenty columns\n/a/path/of/more/than/20\nhint: check the path /x\n"
	for width, want := range map[uint16]string{
		20: "remote: the one line\n  that has more than\n  twenty columns\n/a/path/of/more/than/20\nhint: check the path\n  /x\n",
		80: whole,
		0:  whole, // not told
	} {
		window, terminal := openTerminal(t)
		if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: width}); err != nil {
			t.Fatal(err)
		}
		cli.Print(terminal, "remote", err)
		want = strings.ReplaceAll(want, "\n", "\r\n")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(window, got); err != nil || string(got) != want {
			t.Errorf("%d columns: %q, %v, want %q", width, got, err, want)
		}
	}
}
