package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keystay/internal/hint"
	"keystay/remote"
)

// openTerminal returns the two ends of a new terminal.
func openTerminal(t *testing.T) (window, terminal *os.File) {
	t.Helper()
	window, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { window.Close() })
	fd := int(window.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return window, terminal
}

// answers writes a line to a terminal whenever something has asked for one: each
// question ends with a colon and a space.
func answers(window *os.File, lines ...string) {
	r := bufio.NewReader(window)
	for _, line := range lines {
		for last := byte(0); ; {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			if last == ':' && b == ' ' {
				break
			}
			last = b
		}
		io.WriteString(window, line+"\n")
	}
	io.Copy(io.Discard, r)
}

// identityOnTerminal runs an identity command whose terminal gets these lines.
func identityOnTerminal(t *testing.T, lines []string, args ...string) (out string, err error) {
	window, terminal := openTerminal(t)
	go answers(window, lines...)
	var b bytes.Buffer
	cmd := command()
	cmd.SetArgs(append([]string{"identity"}, args...))
	cmd.SetIn(terminal)
	cmd.SetErr(terminal)
	cmd.SetOut(&b)
	err = cmd.Execute()
	return b.String(), err
}

// On a terminal a new passphrase is asked for twice, and one that opens an export once.
// The export is what age opens, too.
func TestPassphraseIsAskedForOnTheTerminal(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "export.age")
	if _, _, err := remote.Identity(dir); err != nil {
		t.Fatal(err)
	}
	const secret = "correct horse"
	for _, lines := range [][]string{{secret, secret + "s"}, {"short", "short"}} {
		_, err := identityOnTerminal(t, lines, "export", file, "--state-dir", dir)
		if _, stat := os.Stat(file); stat == nil || code(err) != 2 || !slices.Equal(hint.All(err), hint.NoPassphrase.Do) {
			t.Errorf("%q: %v, %v", lines, err, stat)
		}
	}
	if out, err := identityOnTerminal(t, []string{secret, secret}, "export", file, "--state-dir", dir); err != nil {
		t.Fatal(out, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if out, err := identityOnTerminal(t, []string{secret}, "import", file, "--state-dir", filepath.Join(dir, "other")); err != nil || !strings.Contains(out, "is imported") {
		t.Errorf("%s, %v", out, err)
	}
	t.Run("age", func(t *testing.T) { opensWithAge(t, file, secret) })
}

// opensWithAge checks that the program age opens an export.
func opensWithAge(t *testing.T, file, secret string) {
	if _, err := exec.LookPath("age"); err != nil {
		t.Skip("there is no age: apt-get install age")
	}
	window, terminal := openTerminal(t)
	go answers(window, secret)
	cmd := exec.Command("age", "--decrypt", file)
	cmd.Stdin, cmd.Stderr = terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	plain, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	if !slices.Equal(names, []string{"keystay-identity.json", "identity.pem"}) {
		t.Errorf("it has %q", names)
	}
}
