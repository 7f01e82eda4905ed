//go:build unix

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"keystay/e2e/internal/world"
)

// A window is a terminal with a shell in it, as a person sees it.
type window struct {
	t      *testing.T
	master *os.File

	mu      sync.Mutex
	vt      *vt.Emulator
	all     strings.Builder // that came
	raw     strings.Builder // that came since the last keys
	changed chan struct{}   // closed at the next change
}

// leaves is how the alternate screen is left.
const leaves = `\x1b\[\?1049l`

// openWindow opens a window of that size.
func openWindow(t *testing.T, columns, lines int, env ...string) *window {
	t.Helper()
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "PS1=ready> ", "TERM=xterm-256color", "HISTFILE=", world.RaceOptions + "=" + os.Getenv(world.RaceOptions)}, env...)
	cmd.Dir = t.TempDir()
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: uint16(lines), Cols: uint16(columns)})
	if err != nil {
		t.Fatal(err)
	}
	w := &window{t: t, master: master, vt: vt.NewEmulator(columns, lines), changed: make(chan struct{})}
	var work sync.WaitGroup
	work.Go(func() { // it is a terminal that answers no questions
		io.Copy(io.Discard, w.vt)
	})
	work.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf) // ends with the shell
			w.mu.Lock()
			w.all.Write(buf[:n])
			w.raw.Write(buf[:n])
			w.vt.Write(buf[:n])
			close(w.changed)
			w.changed = make(chan struct{})
			w.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGHUP) // as the end of a window does, and to the jobs of the shell
		master.Close()
		cmd.Process.Kill()
		cmd.Wait()
		w.vt.InputPipe().(interface{ Close() error }).Close()
		work.Wait()
	})
	return w
}

// keys types.
func (w *window) keys(s string) {
	w.t.Helper()
	w.mu.Lock()
	w.raw.Reset()
	w.mu.Unlock()
	if _, err := w.master.WriteString(s); err != nil {
		w.t.Fatal(err)
	}
}

// awaitBytes waits until what has come since the last keys matches a pattern, be it still
// shown or not.
func (w *window) awaitBytes(pattern string) {
	w.t.Helper()
	timer := time.NewTimer(world.Patience)
	defer timer.Stop()
	for wanted := regexp.MustCompile(pattern); ; {
		w.mu.Lock()
		changed, raw := w.changed, w.raw.String()
		w.mu.Unlock()
		if wanted.MatchString(raw) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			w.t.Fatalf("%q does not come: %q", pattern, raw)
		}
	}
}

// now is what the window shows, and whether that is the alternate screen.
func (w *window) now() (text string, alternate bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.vt.String(), w.vt.IsAltScreen()
}

// await waits until the window shows all of the patterns, on the alternate screen or not.
func (w *window) await(alternate bool, patterns ...string) string {
	w.t.Helper()
	timer := time.NewTimer(world.Patience)
	defer timer.Stop()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		text, isAlternate := w.now()
		missing := ""
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(text) {
				missing = p
			}
		}
		if missing == "" && isAlternate == alternate {
			return text
		}
		select {
		case <-changed:
		case <-timer.C:
			w.t.Fatalf("%q is not shown, or not there (alternate screen: %v, wanted %v):\n%s", missing, isAlternate, alternate, text)
		}
	}
}

// resize gives the window another size.
func (w *window) resize(columns, lines int) {
	w.t.Helper()
	w.mu.Lock()
	w.vt.Resize(columns, lines)
	w.mu.Unlock()
	if err := pty.Setsize(w.master, &pty.Winsize{Rows: uint16(lines), Cols: uint16(columns)}); err != nil {
		w.t.Fatal(err)
	}
}

// settings has the shell look at the settings of the terminal, which are those of a file
// when there is one. It waits for the shell's prompt, after what matches a pattern since
// the last keys: what is typed before, a program may read that is about to end.
func (w *window) settings(n int, after string) {
	w.t.Helper()
	w.awaitBytes(`(?s)` + after + `.*ready> `)
	w.keys(fmt.Sprintf("test -f mode || stty -g >mode; test \"$(stty -g)\" = \"$(cat mode)\" && echo same$((%d+1))\r", n))
	w.awaitBytes("same" + strconv.Itoa(n+1))
}

// publish is the command line of a remote with a certificate brought along.
func (o *outside) publish(args string) string {
	o.t.Helper()
	dir, err := world.Programs()
	if err != nil {
		o.t.Fatal(err)
	}
	cert, key := o.ca.Files(o.t.TempDir(), outName)
	return strings.Join([]string{filepath.Join(dir, "remote"), "--domain", outName, "--relay", outZone, "--relay-address", o.public,
		"--relay-root", filepath.Join(o.dir, "root.pem"), "--local", o.site, "--cert", cert, "--key", key, "--probe", "off", "--proxy", "none",
		"--state-dir", filepath.Join(o.dir, "device"), args}, " ")
}

// pid is the process of the remote that answers on the state directory.
func (o *outside) pid() int {
	o.t.Helper()
	entries, err := os.ReadDir(filepath.Join(o.dir, "device", "runs"))
	if err != nil || len(entries) == 0 {
		o.t.Fatal("no remote answers: ", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(entries[len(entries)-1].Name(), ".sock"))
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

// On a terminal there is a live screen: the address first, then who holds the key, and the
// requests as they come. It follows the window's size, lets go of the terminal for the
// shell and takes it again, and leaves its last lines and the terminal as it was.
func TestScreenOnATerminal(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	w := openWindow(t, 80, 24)
	w.settings(1, "")

	w.keys(o.publish("") + "\r")
	text := w.await(true, `Key +on this device only`, `Requests .*none yet`, `Relay +relay\.test, round trip`, `q stop`)
	if first, _, _ := strings.Cut(text, "\n"); !strings.HasPrefix(first, " https://"+outName) || !strings.Contains(first, " -> http://"+o.site) {
		t.Errorf("the first line is %q", first)
	}
	o.visit(&tls.Config{RootCAs: o.ca.Pool(), ServerName: outName})
	w.await(true, `\d\d:\d\d:\d\d  200 +\d+ ms  GET  /`, `1 in all`)

	w.resize(40, 10)
	text = w.await(true, `Key: on this device only; the relay pa…`, `(?m)^ c copy  o open  r QR  \? help  q stop\s*\z`)
	if lines := strings.Split(text, "\n"); len(lines) != 10 || !strings.Contains(lines[0], outName) {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	w.resize(80, 24)
	w.keys("r")
	w.await(true, `▀▀▀▀▀▀▀`, `Esc back`)
	w.keys("r")
	w.keys("c")
	w.awaitBytes("\x1b\\]52;c;")

	w.keys("\x1a") // Ctrl-Z
	w.await(false, `Stopped`)
	w.keys("bg\r")
	w.settings(2, "") // it leaves the terminal alone
	o.visit(&tls.Config{RootCAs: o.ca.Pool(), ServerName: outName})
	w.keys("fg\r")
	w.await(true, `2 in all`)

	w.keys("q")
	w.await(false, `https://`+outName+`:?\d* -> http://`+o.site, `Stopped by a key after .* Requests: 2\.`)
	w.settings(3, leaves)
}

// The terminal is given back by whatever end: in good order by SIGTERM, and after a crash,
// whose words are not lost. A log that does not go to the terminal is written beside the
// screen, and NO_COLOR keeps colours away.
func TestTerminalIsGivenBack(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	w := openWindow(t, 80, 24, "NO_COLOR=1")
	w.settings(1, "")

	w.keys(o.publish("--log-level info 2>log") + "\r")
	w.await(true, `Key +on this device only`, `q stop`)
	if err := syscall.Kill(o.pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.await(false, `Stopped by a signal or remote stop`)
	w.settings(2, leaves)
	w.keys("grep -c 'session is up' log; echo end$((2+1))\r")
	w.awaitBytes(`\b[1-9]\s+end3`)
	w.mu.Lock()
	if found := regexp.MustCompile(`\x1b\[[0-9;]*(3[0-7]|4[0-7]|38|48)[;m]`).FindString(w.all.String()); found != "" {
		t.Errorf("there is a colour: %q", found)
	}
	w.mu.Unlock()

	w.keys("clear; " + o.publish("") + "\r")
	w.await(true, `Key +on this device only`, `q stop`)
	if err := syscall.Kill(o.pid(), syscall.SIGQUIT); err != nil { // all goroutines, as after a panic
		t.Fatal(err)
	}
	w.await(false, `goroutine|0x`)
	w.settings(3, leaves)
	w.keys(o.publish("--plain") + "\r")
	w.awaitBytes(`To stop +Ctrl-C`)
	w.keys("\x03")
	w.settings(4, "")
}
