// Package browser opens pages in real browsers, Chromium and Firefox without
// a window, so that a story can show what a visitor's browser makes of a
// relay and a remote. Certificates are verified as always: the only thing
// that is added is the root in [Browser.CA], to a profile made for one run.
//
// No remote control is involved. The page of [Site] does the checking by
// itself, shows the results and posts them back to where it came from.
package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Kind names a browser.
type Kind string

// The browsers that this package can run, from the Debian packages chromium
// and firefox-esr.
const (
	Chromium Kind = "chromium"
	Firefox  Kind = "firefox"
)

// DefaultTimeout bounds one run of a browser whose Timeout is zero.
const DefaultTimeout = 5 * time.Minute

// hostsLimit bounds Browser.Hosts, which ends up in a command line.
const hostsLimit = 64

// A Browser is an installed browser and what it should believe about the
// world. Get one from [Find], then set its fields. Each run has a home and a
// profile of its own, removed when it ends, so one Browser may be used any
// number of times, also at once.
type Browser struct {
	// CA holds PEM certificates, each a root to trust besides the ones that
	// the browser brings. Empty: no other.
	CA []byte

	// Hosts are the names, without a port, that lead to 127.0.0.1. No other
	// name leads anywhere, so that a run makes no connection to the outside.
	Hosts []string

	// Resolve looks Hosts up as the system does, in place of leading them to 127.0.0.1.
	// It is for a network of the test's own, without a way to the outside.
	Resolve bool

	// Dark is for somebody who prefers dark pages.
	Dark bool

	// Width is that of the window, in CSS pixels. Zero: 1000. Chromium makes none
	// below 500.
	Width int

	// Timeout bounds a run as a whole. Zero: DefaultTimeout.
	Timeout time.Duration

	kind     Kind
	program  string // path of the browser
	certutil string // path of NSS's certutil
}

// Find looks for a browser, and for the certutil that makes it trust a root,
// in $PATH. If something is missing the error is a [*MissingError].
func Find(kind Kind) (Browser, error) {
	var names []string
	var pkg string
	switch kind {
	case Chromium:
		names, pkg = []string{"chromium", "chromium-browser", "google-chrome"}, "chromium"
	case Firefox:
		names, pkg = []string{"firefox-esr", "firefox"}, "firefox-esr"
	default:
		return Browser{}, fmt.Errorf("find browser: unknown kind %q", kind)
	}
	b := Browser{kind: kind}
	var missing MissingError
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			b.program = path
			break
		}
	}
	if b.program == "" {
		missing.Programs = append(missing.Programs, names[0])
		missing.Packages = append(missing.Packages, pkg)
	}
	var err error
	if b.certutil, err = exec.LookPath("certutil"); err != nil {
		missing.Programs = append(missing.Programs, "certutil")
		missing.Packages = append(missing.Packages, "libnss3-tools")
	}
	if missing.Programs != nil {
		return Browser{}, &missing
	}
	return b, nil
}

// Screenshot opens page, a URL, waits for its load event, writes a picture
// of it as a PNG file and ends the browser. A page that wants to finish
// something first can hold its load event back, as the page of [Site] does.
//
// If the page does not load, Chromium ends at once without a picture, while
// Firefox waits on until the Timeout: both are errors. An error status is a
// page like any other.
//
// A browser that crashes is no fault of the page: Firefox does it at its end, now and
// then. Where the picture is there by then it counts; else the page is opened once more.
func (b Browser) Screenshot(ctx context.Context, page, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("take screenshot: %w", err)
	}
	// What is there afterwards must be from this run.
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("take screenshot: %w", err)
	}
	err = b.run(ctx, page, file)
	_, missing := os.Stat(file)
	if crashed(err) && missing != nil {
		err = b.run(ctx, page, file)
		_, missing = os.Stat(file)
	}
	if err != nil && !(crashed(err) && missing == nil) {
		return fmt.Errorf("take screenshot: %w", err)
	}
	if err := missing; err != nil {
		return fmt.Errorf("take screenshot: %s ended without writing it: %w", b.kind, err)
	}
	return nil
}

// crashed reports whether err is that of a program which a mistake of its own has ended.
func crashed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && slices.Contains([]syscall.Signal{syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT}, status.Signal())
}

// Open opens page, a URL, and keeps it open until ctx ends, which is the
// orderly end: it returns nil then, and an error if the browser ended earlier
// or its timeout passed. All of its processes are gone when Open returns.
func (b Browser) Open(ctx context.Context, page string) error {
	err := b.run(ctx, page, "")
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("keep %s open: %w", b.kind, err)
}

// size is that of the window as arguments have it.
func (b Browser) size() string { return strconv.Itoa(cmp.Or(b.Width, 1000)) + ",800" }

// run runs the browser until it ends by itself or has to. An empty file means
// that no screenshot is wanted.
func (b Browser) run(ctx context.Context, page, file string) error {
	if b.program == "" {
		return errors.New("browser: not from Find")
	}
	if err := b.check(page); err != nil {
		return err
	}
	timeout := cmp.Or(b.Timeout, DefaultTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("%s ran for %v: %w", b.kind, timeout, context.DeadlineExceeded))
	defer cancel()

	// Not below a test's own folder: its name can be too long for the socket
	// that Chromium makes in there.
	home, err := os.MkdirTemp("", "keystay-browser-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)

	prepare := b.chromium
	if b.kind == Firefox {
		prepare = b.firefox
	}
	args, err := prepare(ctx, home, page, file)
	if err != nil {
		return err
	}
	return runGroup(ctx, home, b.program, args...)
}

// check refuses what would read as something else where it ends up: in a
// resolver rule, a preference, an argument.
func (b Browser) check(page string) error {
	if u, err := url.Parse(page); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("browser: %q is not the URL of a page", page)
	}
	if len(b.Hosts) > hostsLimit {
		return fmt.Errorf("browser: %d hosts, at most %d", len(b.Hosts), hostsLimit)
	}
	for _, host := range b.Hosts {
		if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			return fmt.Errorf("browser: %q is not a host name in lower case", host)
		}
	}
	return nil
}

// A MissingError says what has to be installed before a browser can run.
type MissingError struct {
	Programs []string // what was looked for in $PATH
	Packages []string // the Debian packages they come in
}

// Error names the programs and, as a hint, the line that installs them.
func (e *MissingError) Error() string {
	msg := "not installed:"
	install := "hint: apt-get install --no-install-recommends"
	for i, program := range e.Programs {
		msg += " " + program
		install += " " + e.Packages[i]
	}
	return msg + "\n" + install
}
