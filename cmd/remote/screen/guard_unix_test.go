//go:build unix

package screen

import (
	"io"
	"os"
	"testing"
)

// A guard that is not ready in time never gives back the terminal: the screen has it then.
func TestGuardThatIsLateLeavesTheTerminalAlone(t *testing.T) {
	shown, terminal, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer shown.Close()
	guard(terminal, lateGuard, 0)()
	terminal.Close()
	if b, err := io.ReadAll(shown); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
