package browser_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/e2e/internal/browser"
)

const anyURL = "https://" + host + "/"

// pretend puts a shell script in the place of Chromium, and one that does
// nothing in that of certutil.
func pretend(t *testing.T, script string) browser.Browser {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"chromium": script, "certutil": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	b, err := browser.Find(browser.Chromium)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fifo makes a named pipe for a script to write to and opens the other end.
// With mode os.O_RDONLY a read is at the end of file when nobody has the
// script's end open, with os.O_RDWR never. A read gives up after 10 seconds.
func fifo(t *testing.T, mode int) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(name, mode|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	file.SetReadDeadline(time.Now().Add(time.Minute))
	return file
}

// checkGone fails the test unless all who held the pipe are gone.
func checkGone(t *testing.T, held *os.File) {
	t.Helper()
	if _, err := io.Copy(io.Discard, held); err != nil {
		t.Errorf("a process is left: %v", err)
	}
}

func TestCancelEndsWholeGroup(t *testing.T) {
	up, held := fifo(t, os.O_RDWR), fifo(t, os.O_RDONLY)
	b := pretend(t, fmt.Sprintf("exec 3>%s\nsleep 600 &\necho up >%s\nwait\n", held.Name(), up.Name()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan error, 1)
	go func() { opened <- b.Open(ctx, anyURL) }()
	if _, err := up.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-opened; err != nil {
		t.Errorf("Open: %v, want nil for the end that was asked for", err)
	}
	checkGone(t, held)
}

func TestEndOfBrowserEndsWholeGroup(t *testing.T) {
	held := fifo(t, os.O_RDONLY)
	b := pretend(t, "exec 3>"+held.Name()+"\nsleep 600 &\n")
	if err := b.Open(t.Context(), anyURL); err == nil {
		t.Error("Open is nil for a browser that did not stay")
	}
	checkGone(t, held)
}

func TestTimeoutIsNamed(t *testing.T) {
	b := pretend(t, "exec sleep 600\n")
	b.Timeout = 50 * time.Millisecond
	for _, err := range []error{
		b.Open(t.Context(), anyURL),
		b.Screenshot(t.Context(), anyURL, filepath.Join(t.TempDir(), "x.png")),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ran for 50ms") {
			t.Errorf("error is %v, want one that wraps context.DeadlineExceeded and names 50ms", err)
		}
	}
}

func TestErrorQuotesEndOfOutput(t *testing.T) {
	b := pretend(t, "head -c 100000 /dev/zero | tr '\\0' x\necho no display >&2\nexit 7\n")
	err := b.Screenshot(t.Context(), anyURL, filepath.Join(t.TempDir(), "x.png"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("error is %v, want exit status 7", err)
	}
	if text := err.Error(); !strings.HasSuffix(text, "no display") || len(text) < 2<<10 || len(text) > 3<<10 {
		t.Errorf("error has %d bytes, want a little over 2 KiB that end with the last line", len(text))
	}
}

func TestScreenshotMustBeNew(t *testing.T) {
	b := pretend(t, "exit 0\n")
	file := filepath.Join(t.TempDir(), "old.png")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Screenshot(t.Context(), anyURL, file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want one for a missing file", err)
	}
}

// Nothing of the surroundings reaches a browser that could change what it
// does: no proxy, no home, no display.
func TestNothingOfTheSurroundingsReachesABrowser(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("DISPLAY", ":7")
	out := filepath.Join(t.TempDir(), "env")
	b := pretend(t, "env >"+out+"\n")
	b.Open(t.Context(), anyURL)
	env, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"HTTPS_PROXY", "DISPLAY", "HOME=" + os.Getenv("HOME") + "\n"} {
		if strings.Contains(string(env), word) {
			t.Errorf("the browser got to see %q", word)
		}
	}
}

func TestRefusesBadSettings(t *testing.T) {
	b := pretend(t, "exec sleep 600\n")
	root, _ := issue(t)
	for name, test := range map[string]struct {
		url   string
		hosts []string
		ca    []byte
	}{
		"flag as URL":        {url: "--version"},
		"file as URL":        {url: "file:///etc/passwd"},
		"host with a rule":   {url: anyURL, hosts: []string{"a.test 127.0.0.2, MAP b.test"}},
		"empty host":         {url: anyURL, hosts: []string{""}},
		"too many hosts":     {url: anyURL, hosts: slices.Repeat([]string{host}, 65)},
		"CA without a root":  {url: anyURL, ca: []byte("x")},
		"CA with only a key": {url: anyURL, ca: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"})},
		"too many roots":     {url: anyURL, ca: slices.Repeat(root, 17)},
	} {
		t.Run(name, func(t *testing.T) {
			b := b
			b.Hosts, b.CA, b.Timeout = test.hosts, test.ca, 2*time.Minute
			err := b.Open(t.Context(), test.url)
			if err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v, want a refusal", err)
			}
		})
	}
	if err := new(browser.Browser).Open(t.Context(), anyURL); err == nil {
		t.Error("a Browser that is not from Find runs something")
	}
}

func TestFindNamesWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for kind, want := range map[browser.Kind]string{
		browser.Chromium: "not installed: chromium certutil\nhint: apt-get install --no-install-recommends chromium libnss3-tools",
		browser.Firefox:  "not installed: firefox-esr certutil\nhint: apt-get install --no-install-recommends firefox-esr libnss3-tools",
	} {
		_, err := browser.Find(kind)
		var missing *browser.MissingError
		if !errors.As(err, &missing) || err.Error() != want {
			t.Errorf("%s: error is %v, want %s", kind, err, want)
		}
	}
	if _, err := browser.Find("lynx"); err == nil {
		t.Error("found a browser of unknown kind")
	}
}

// A crash of the browser after its picture counts for nothing, one before it makes the page
// be opened once more, and one after the other is an error.
func TestCrashOfTheBrowserIsNotThePages(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		ok     bool
	}{
		"at its end": {`for a; do case $a in --screenshot=*) echo x > "${a#*=}";; esac; done; kill -SEGV $$`, true},
		"once":       {`for a; do case $a in --screenshot=*) f=${a#*=};; esac; done; [ -e "$f.tried" ] || { touch "$f.tried"; kill -SEGV $$; }; echo x > "$f"`, true},
		"always":     {`kill -SEGV $$`, false},
		"exit code":  {`for a; do case $a in --screenshot=*) echo x > "${a#*=}";; esac; done; exit 3`, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := pretend(t, c.script).Screenshot(t.Context(), anyURL, filepath.Join(t.TempDir(), "page.png"))
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
