package ownfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"go.uber.org/goleak"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// as16 is s in UTF-16 with its mark, the high byte first or last.
func as16(s string, high bool) []byte {
	var b []byte
	for _, u := range append([]uint16{0xfeff}, utf16.Encode([]rune(s))...) {
		if high {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return b
}

func TestTextAsOtherToolsWriteIt(t *testing.T) {
	const text = "-----BEGIN X-----\r\né\r\n"
	for name, b := range map[string][]byte{
		"plain":            []byte(text),
		"UTF-8 with mark":  []byte("\ufeff" + text),
		"UTF-16, low byte": as16(text, false),
		"UTF-16, high":     as16(text, true),
	} {
		if got := string(ownfile.Text(b)); got != text {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, b := range [][]byte{nil, {0xff}, {0x30, 0x82, 0xff, 0xfe}} { // DER stays as it is
		if got := ownfile.Text(b); !bytes.Equal(got, b) {
			t.Errorf("% x became % x", b, got)
		}
	}
	if got := string(ownfile.PEM([]byte("\ufeff  a\r\n\tb \n"))); got != "a\nb\n" {
		t.Errorf("%q", got)
	}
}

func TestWriteReplacesTheWholeFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for _, text := range []string{"a longer one", "short", ""} {
		if err := ownfile.Write(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(file); string(b) != text || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := ownfile.Write(dir, []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".new-*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := ownfile.Write(filepath.Join(dir, "none", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// What a link led to may be on a disk that is not mounted now.
func TestWriteLeavesALinkToNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.Symlink(filepath.Join(dir, "away"), file); err != nil {
		t.Skip(err)
	}
	err := ownfile.Write(file, []byte("x"))
	if err == nil || !strings.Contains(err.Error(), file+" is a symbolic link to ") || len(hint.All(err)) == 0 {
		t.Errorf("%v, %q", err, hint.All(err))
	}
	if _, err := os.Readlink(file); err != nil {
		t.Error(err)
	}
}

func TestMkdirAllIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := ownfile.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := ownfile.MkdirAll(dir); err != nil {
		t.Errorf("again: %v", err)
	}
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestExposedNamesWhatToDo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes here")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		mode fs.FileMode
		want string // the beginning of the hint
	}{
		{file, 0o600, ""}, {file, 0o640, ""}, {file, 0o604, "chmod 600 " + file}, {file, 0o602, "chmod 600 " + file},
		{dir, 0o700, ""}, {dir, 0o750, ""}, {dir, 0o755, "chmod 700 " + dir}, {dir, 0o701, "chmod 700 " + dir},
	} {
		if err := os.Chmod(c.path, c.mode); err != nil {
			t.Fatal(err)
		}
		err := ownfile.Exposed(c.path)
		if got := strings.Join(hint.All(err), ""); (err != nil) != (c.want != "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %v: %v, %q", c.path, c.mode, err, got)
		}
	}
	if err := ownfile.Exposed(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}

// What a program keeps itself is closed, and said to have been open.
func TestProtectClosesAndTells(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes here")
	}
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o640: "", 0o644: "could read or write", 0o606: "could read or write"} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		err := ownfile.Protect(file)
		if want == "" != (err == nil) || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(hint.All(err)[0], "chmod 600 "+file)) {
			t.Errorf("%v: %v", mode, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v became %v, %v", mode, info.Mode(), err)
		}
	}
}

// What a symbolic link leads to is told of where it is open, and not changed.
func TestProtectChangesNothingBehindALink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes here")
	}
	for mode, want := range map[fs.FileMode]string{0o600: "", 0o640: "", 0o644: "can read or write"} {
		target, link := filepath.Join(t.TempDir(), "else"), filepath.Join(t.TempDir(), "key")
		if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Chmod(target, mode), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
		err := ownfile.Protect(link)
		if want == "" != (err == nil) || err != nil && (!strings.Contains(err.Error(), want) || hint.All(err)[0] != "chmod 600 "+link) {
			t.Errorf("%v: %v", mode, err)
		}
		if info, err := os.Stat(target); err != nil || info.Mode() != mode {
			t.Errorf("%v became %v, %v", mode, info.Mode(), err)
		}
	}
	dir := t.TempDir() // nor is a folder
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := ownfile.Protect(dir); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("the folder became %v, %v", info.Mode(), err)
	}
}

func TestExplainSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err    error
		advice *hint.Advice
	}{
		{syscall.ENOSPC, hint.DiskFull}, {syscall.EDQUOT, hint.DiskFull}, {syscall.EROFS, hint.ReadOnly},
	} {
		err := ownfile.Explain(&fs.PathError{Op: "open", Path: "/x", Err: c.err}, "/x")
		want := c.advice.With("FILE", "/x", "DIR", "/x")
		if got := hint.All(err); strings.Join(got, "\n") != strings.Join(want, "\n") || !errors.Is(err, c.err) {
			t.Errorf("%v: hints %q, want %q", err, got, want)
		}
	}
	if got := hint.All(ownfile.ExplainNamed(fs.ErrNotExist, "/x")); len(got) != 1 || got[0] != "check the path /x" {
		t.Errorf("a file that was named: %q", got)
	}
	for _, err := range []error{nil, syscall.EIO, fs.ErrPermission, fs.ErrNotExist} {
		if got := ownfile.Explain(err, "/x"); !errors.Is(got, err) || len(hint.All(got)) != 0 {
			t.Errorf("%v became %v", err, got)
		}
	}
}
