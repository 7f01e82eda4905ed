//go:build unix

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
)

// What stands in the place of the record and is no file is said to be that, and not damage:
// a backup is no help then.
func TestRecordThatIsNoFileIsNamed(t *testing.T) {
	for what, make := range map[string]func(string) error{
		"a folder":     func(file string) error { return os.Mkdir(file, 0o700) },
		"a named pipe": func(file string) error { return syscall.Mkfifo(file, 0o600) },
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, recordName)
		if err := make(file); err != nil {
			t.Fatal(err)
		}
		_, err := openRecord(&config.Relay{StateDir: dir}, slog.New(slog.DiscardHandler))
		err = stateError(dir, err)
		found := recordFile(file)
		for _, got := range []struct {
			text  string
			hints []string
		}{{err.Error(), hint.All(err)}, {found.Detail, found.Hints}} {
			if strings.Contains(got.text, "damaged") || !strings.Contains(got.text, "it is "+what+", and no record of names") || len(got.hints) != 2 || !strings.HasPrefix(got.hints[0], "move "+file+" away") {
				t.Errorf("%s: %s, %q", what, got.text, got.hints)
			}
		}
	}
}

// A record that this user may not read is named itself, and a state_dir that is a link to
// nothing is said to be that.
func TestRecordThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, recordName)
	if err := os.WriteFile(file, nil, 0); err != nil {
		t.Fatal(err)
	}
	err := stateError(dir, &os.PathError{Op: "open", Path: file, Err: syscall.EACCES})
	if h := hint.All(err); len(h) != 1 || !strings.HasSuffix(h[0], "chmod 600 "+file) {
		t.Errorf("%v, %q", err, h)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/nowhere/keystay", link); err != nil {
		t.Fatal(err)
	}
	err = stateError(link, os.MkdirAll(link, 0o700))
	if h := hint.All(err); len(h) != 1 || !strings.Contains(err.Error(), link+" is a symbolic link to /nowhere/keystay, which is not there") {
		t.Errorf("%v, %q", err, h)
	}
	c := &checker{cfg: &config.Relay{StateDir: link}}
	if got := c.state(); len(got) != 1 || got[0].State != cli.FoundWrong || !strings.Contains(got[0].Detail, "symbolic link") {
		t.Errorf("%+v", got)
	}
}
