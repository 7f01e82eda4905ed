// Package ownfile is about the files of the programs: keys, certificates,
// tokens and state. It reads them as other tools write them, writes them for
// good, looks who else may read them, and tells people why one cannot be used.
package ownfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"keystay/internal/hint"
)

// Read returns the text in a file as Text makes it. The error wraps ErrPipe where it is
// a pipe that nobody writes into.
func Read(file string) ([]byte, error) {
	b, _, err := Load(file, 0)
	return Text(b), err
}

// Text returns b without the byte order mark that some editors put in front,
// and as UTF-8 where the mark says UTF-16, which is what Windows' shells write.
func Text(b []byte) []byte {
	out, _, err := transform.Bytes(unicode.BOMOverride(encoding.Nop.NewDecoder()), b)
	if err != nil {
		return b
	}
	return out
}

// PEM returns b as Text makes it, each line without the space around it, so
// that blocks are found which were pasted indented.
func PEM(b []byte) []byte {
	lines := bytes.Split(Text(b), []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimSpace(line)
	}
	return bytes.Join(lines, []byte("\n"))
}

// SyncDir makes what was created, renamed or removed in a folder survive a loss
// of power. Systems that cannot sync a folder, such as Windows, keep their own
// promises.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if runtime.GOOS == "windows" || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// MkdirAll makes a folder with mode 0700, and those above it that are missing,
// so that they survive a loss of power.
func MkdirAll(dir string) error {
	var parents []string // of what is made
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, p := range parents {
		// A folder above may be one that this user can only pass through.
		if err := SyncDir(p); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// Owner returns the number of the user whose a file is, where the system tells it.
func Owner(info fs.FileInfo) (uid int, ok bool) { return ownerOf(info) }

// IsOpen reports whether users other than owner and group may read or write
// the file, or get into the folder.
func IsOpen(info fs.FileInfo) bool {
	return runtime.GOOS != "windows" && (info.Mode().IsRegular() || info.IsDir()) && info.Mode().Perm()&0o007 != 0
}

// Exposed returns an error for people, with hints, where every user of the
// machine may read or write a private file, or get into a private folder. It
// changes nothing. What cannot be looked at is nil.
func Exposed(path string) error {
	info, err := os.Stat(path)
	if err != nil || !IsOpen(info) {
		return nil
	}
	if info.IsDir() && (info.Mode()&fs.ModeSticky != 0 || isSystem(path)) {
		return hint.FolderShared.Error(fmt.Errorf("every user of this machine can get into %s", path))
	}
	if info.IsDir() {
		return hint.FolderOpen.Error(fmt.Errorf("every user of this machine can get into %s", path), "DIR", path)
	}
	return hint.FileOpen.Error(fmt.Errorf("every user of this machine can read or write %s", path), "FILE", path)
}

// Protect takes the rights of others to a private file away, if it can. The
// error is for people, with hints: that every user of the machine had some, or
// has them still.
//
// Call it once the file's content has shown that the file is the program's own.
// It changes nothing but a regular file of the program's user: what a symbolic
// link leads to is not the program's to change.
func Protect(file string) error {
	f, err := openOwn(file)
	if err != nil {
		return Exposed(file)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || f.Chmod(0o600) != nil {
		return Exposed(file)
	}
	if IsOpen(info) {
		return hint.FileWasOpen.Error(fmt.Errorf("every user of this machine could read or write %s", file), "FILE", file)
	}
	return nil
}

// errNotOwn is the error of openOwn for any other kind of file.
var errNotOwn = errors.New("not a regular file of this user")

// openOwn opens a regular file of the program's user. The caller closes it. The
// file that was looked at is the file that is opened, also where somebody puts
// another one in its place meanwhile; not to wait for the writer of a pipe, it
// is opened without blocking.
func openOwn(file string) (*os.File, error) {
	before, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	if uid, ok := ownerOf(before); !before.Mode().IsRegular() || ok && uid != os.Geteuid() {
		return nil, errNotOwn
	}
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(before, info) {
		f.Close()
		return nil, errNotOwn
	}
	return f, nil
}

// Explain returns err, which came of using path, with hints where the disk is
// full, the file system read-only, path a pipe, or part of it somebody else's or a
// symbolic link to nothing. It returns any other error as it is.
func Explain(err error, path string) error { return ExplainIn(err, path, "") }

// ExplainNamed is Explain for a file that somebody has named, who may have its name wrong.
func ExplainNamed(err error, path string) error {
	if err = Explain(err, path); errors.Is(err, fs.ErrNotExist) && len(hint.All(err)) == 0 {
		return hint.FileMissing.Error(err, "FILE", path)
	}
	return err
}

// ExplainIn is Explain for a file in a folder that is to be the user's own, such
// as a state directory.
func ExplainIn(err error, path, dir string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint.DiskFull.Error(err, "DIR", path)
	case errors.Is(err, syscall.EROFS):
		return hint.ReadOnly.Error(err, "DIR", path)
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		if link := Dangling(path); link != nil && len(hint.All(err)) == 0 {
			return fmt.Errorf("%w: %w", err, link)
		}
	case errors.Is(err, ErrPipe):
		return hint.FileIsPipe.Error(err, "FILE", path)
	case errors.Is(err, fs.ErrPermission):
		if what, owner, user := foreign(path, dir, os.Geteuid()); what != "" {
			return notOwn(err, dir, what, owner, user)
		}
	}
	return err
}

// ExplainState is Explain for a path in the program's own folder dir, which may
// itself be somebody else's.
func ExplainState(err error, path, dir string) error {
	if errors.Is(err, fs.ErrPermission) {
		if what, owner, user := strange(dir, os.Geteuid()); what != "" {
			return notOwn(err, dir, what, owner, user)
		}
	}
	return Explain(err, path)
}

// ErrOthers is wrapped by the errors of ExplainIn and ExplainState where the folder is
// not one to be given to the program's user.
var ErrOthers = errors.New("it is the folder of somebody else")

// notOwn is err where what, part of a path or dir itself, is another user's.
func notOwn(err error, dir, what, owner, user string) error {
	if abs, aerr := filepath.Abs(dir); dir != "" && aerr == nil && (what == dir || what == abs) && !isState(abs) {
		return hint.OthersFolder.Error(fmt.Errorf("%w: %w", err, ErrOthers), "FILE", what, "OWNER", owner, "USER", user)
	}
	return hint.OtherOwner.Error(err, "FILE", what, "OWNER", owner, "USER", user)
}

// isState reports whether a folder looks like one that the programs have made, or is free
// to become one: whatever else is in a folder is changed with its owner. None of the
// system's is one, also where a program has run on it before, nor one into which everybody
// may put such a file.
func isState(dir string) bool {
	if isSystem(dir) || isShared(dir) {
		return false
	}
	entries, err := os.ReadDir(dir)
	own := func(e fs.DirEntry) bool {
		return slices.Contains([]string{"identity.pem", "names.db"}, e.Name())
	}
	return strings.Contains(dir, "keystay") || slices.ContainsFunc(entries, own) ||
		err == nil && len(entries) == 0 && filepath.Dir(dir) != "/"
}

// isShared reports whether a folder is there for everybody, as /tmp is.
func isShared(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode()&fs.ModeSticky != 0 && info.Mode().Perm()&0o002 != 0
}

// The system's folders: those at the top that are its own with all that is in them, and so
// below /var; and those that have folders of others in them. Whatever is directly below
// /var is one of the latter.
var (
	systemTops = []string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr"}
	systemVars = []string{"backups", "cache", "lock", "log", "mail", "run", "spool"}
	systemDirs = []string{"/", "/home", "/opt", "/root", "/tmp", "/var", "/var/lib", "/var/lib/private"}
)

// isSystem reports whether a folder is, or is in, one of the system's, or is one that has
// folders of others in it.
func isSystem(dir string) bool {
	dir = filepath.Clean(dir)
	if !filepath.IsAbs(dir) || strings.Contains(dir, "keystay") {
		return false
	}
	top, below, _ := strings.Cut(strings.TrimPrefix(dir, "/"), "/")
	first, rest, _ := strings.Cut(below, "/")
	return slices.Contains(systemTops, top) || slices.Contains(systemDirs, dir) ||
		top == "var" && (rest == "" || slices.Contains(systemVars, first))
}

// strange returns dir, if it is there and belongs to another user than the one
// with this id, and the names of both; or nothing.
func strange(dir string, uid int) (what, owner, user string) {
	info, err := os.Stat(dir)
	if err != nil || uid <= 0 { // no such thing here, or root
		return "", "", ""
	}
	if id, ok := ownerOf(info); ok && id != uid {
		return dir, userName(id), userName(uid)
	}
	return "", "", ""
}

// foreign returns the outermost part of path, the file or a folder, that
// belongs to another user though it lies in a folder of the user with this id,
// or is dir or in dir, and the names of both; or nothing.
func foreign(path, dir string, uid int) (what, owner, user string) {
	abs, err := filepath.Abs(path)
	if err != nil || uid <= 0 { // no such thing here, or root
		return "", "", ""
	}
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return "", "", ""
		}
	}
	inOwn, at := false, ""
	for part := range strings.SplitSeq(strings.TrimPrefix(abs, "/"), "/") {
		at += "/" + part
		info, err := os.Stat(at)
		if err != nil {
			break
		}
		id, ok := ownerOf(info)
		if !ok {
			break
		}
		inOwn = inOwn || at == dir
		if inOwn && id != uid {
			return at, userName(id), userName(uid)
		}
		inOwn = inOwn || id == uid
	}
	return "", "", ""
}

// Dangling returns an error, with hints, where path or a folder above it is a symbolic link
// to what is not there: to make or open path then fails with words that speak of neither.
func Dangling(path string) error {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
				to, _ := os.Readlink(at)
				return hint.LinkDangles.Error(fmt.Errorf("%s is a symbolic link to %s, which is not there", at, to), "FILE", at, "TARGET", to)
			}
		}
		if err == nil || at == filepath.Dir(at) {
			return nil
		}
	}
}
