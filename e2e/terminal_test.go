//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
)

// onTerminal runs a remote on a terminal of that many columns until the text of
// a pattern is there, interrupts it, and returns all that the terminal got.
func (o *outside) onTerminal(columns uint16, until string, args ...string) string {
	o.t.Helper()
	dir, err := world.Programs()
	if err != nil {
		o.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "remote"), append([]string{"--domain", outName, "--relay", outZone, "--relay-root", filepath.Join(o.dir, "root.pem"),
		"--local", o.site, "--state-dir", filepath.Join(o.dir, "device")}, args...)...)
	cmd.Env = []string{"HOME=" + o.dir, "TERM=dumb", world.RaceOptions + "=" + os.Getenv(world.RaceOptions)}
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: columns})
	if err != nil {
		o.t.Fatal(err)
	}
	defer master.Close()
	var shown strings.Builder
	wanted, buf := regexp.MustCompile(until), make([]byte, 4096)
	stopped := false
	for {
		n, err := master.Read(buf) // ends with the program
		shown.Write(buf[:n])
		if !stopped && wanted.MatchString(shown.String()) {
			stopped = true
			cmd.Process.Signal(syscall.SIGINT)
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		o.t.Errorf("it ended with %v", err)
	}
	return strings.ReplaceAll(shown.String(), "\r\n", "\n")
}

// On a terminal people get sentences and no log, at every width; --log-level
// brings the log.
func TestTerminalShowsSentencesAndNoLog(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	ca, err := pebble.Start(pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ca.Close() })
	ca.SetTLSTarget(o.public)
	roots := o.write("ca.pem", ca.APIRoots())
	args := []string{"--relay-address", o.public, "--acme-ca", ca.DirectoryURL(), "--acme-root", roots}

	ca.SetDown(true)
	text := o.onTerminal(60, `No certificate[\s\S]*hint:.*\n`, args...)
	for _, want := range []string{"Connecting " + outName + " to " + outZone + "…\n", "Connected to the relay " + outZone + ".\n", "Asking 127.0.0.1:", "cannot be reached"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	ca.SetDown(false)
	for _, columns := range []uint16{80, 60, 40} {
		text += o.onTerminal(columns, `To stop`, args...)
	}
	if strings.Contains(text, "level=") || strings.Contains(text, "msg=") || strings.Count(text, "https://"+outName) != 3 || strings.Count(text, "Pebble") != 3 {
		t.Errorf("terminal:\n%s", text)
	}
	if _, after, _ := strings.Cut(text, "To stop"); strings.Contains(after, "There is a certificate") {
		t.Errorf("what led to the screen comes after it:\n%s", text)
	}
	if text := o.onTerminal(80, `To stop`, append(args, "--log-level", "info")...); !strings.Contains(text, `level=INFO msg="session is up"`) {
		t.Errorf("no log:\n%s", text)
	}
}
