package folder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// maxLinks is how many symbolic links one path may lead over.
const maxLinks = 16

// A view is the folder while one request is answered. All that is opened is opened
// below its root, which package os keeps from being left, whatever happens to the
// folder meanwhile.
type view struct {
	root  *os.Root
	never []fs.FileInfo // folders of which nothing is served
}

// Close closes the folder.
func (v *view) Close() error { return v.root.Close() }

// isNever reports whether nothing is served of what info is about.
func (v *view) isNever(info fs.FileInfo) bool {
	return slices.ContainsFunc(v.never, func(n fs.FileInfo) bool { return os.SameFile(info, n) })
}

// isBelowNever reports whether a folder is one of those, or lies in one, wherever symbolic
// links lead.
func (v *view) isBelowNever(dir string) bool {
	if len(v.never) == 0 {
		return false
	}
	at, err := filepath.EvalSymlinks(dir)
	for ; err == nil; at = filepath.Dir(at) {
		var info fs.FileInfo
		if info, err = os.Stat(at); err == nil && v.isNever(info) {
			return true
		}
		if at == filepath.Dir(at) {
			return false
		}
	}
	return true // nobody knows
}

// An entry is a file or a folder that may be served.
type entry struct {
	path string // from the top, with slashes, without links; "." is the top
	info fs.FileInfo
}

// A leadsOutError is the error of a symbolic link that leads out of the folder. To
// a visitor it is one of nothing there.
type leadsOutError struct{ path string }

// Error implements error.
func (e *leadsOutError) Error() string { return e.path + " leads out of the folder" }

// Is reports whether it is fs.ErrNotExist.
func (e *leadsOutError) Is(target error) bool { return target == fs.ErrNotExist }

// find looks for a file or folder by the names on the way to it. It follows
// symbolic links by itself, so that each name behind them is looked at, too: a link
// to what is hidden is as hidden.
func (v *view) find(names []string) (entry, error) {
	var at []string // where the way has come to
	links := 0
	for todo := names; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch {
		case name == "" || name == ".": // of a link
			continue
		case name == "..":
			if len(at) == 0 {
				return entry{}, &leadsOutError{strings.Join(names, "/")}
			}
			at = at[:len(at)-1]
			continue
		case isHidden(name) || len(at) == maxDepth:
			return entry{}, fs.ErrNotExist
		}
		at = append(at, name)
		here := strings.Join(at, "/")
		info, err := v.root.Lstat(filepath.FromSlash(here))
		if err != nil {
			return entry{}, known(err)
		}
		switch {
		case v.isNever(info):
			return entry{}, fs.ErrNotExist
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := v.root.Readlink(filepath.FromSlash(here))
			if err != nil {
				return entry{}, known(err)
			}
			if links++; links > maxLinks {
				return entry{}, fs.ErrNotExist
			}
			to = filepath.ToSlash(to)
			if filepath.IsAbs(to) || strings.HasPrefix(to, "/") || filepath.VolumeName(to) != "" {
				return entry{}, &leadsOutError{here}
			}
			at = at[:len(at)-1]
			todo = append(strings.Split(to, "/"), todo...)
		case info.IsDir():
		case info.Mode().IsRegular() && len(todo) == 0:
			return entry{here, info}, nil
		default: // a device, a pipe, a socket, or something below a file
			return entry{}, fs.ErrNotExist
		}
	}
	here := "."
	if len(at) > 0 {
		here = strings.Join(at, "/")
	}
	info, err := v.root.Lstat(filepath.FromSlash(here))
	if err != nil {
		return entry{}, known(err)
	}
	if !info.IsDir() {
		return entry{}, fs.ErrNotExist // it was replaced meanwhile
	}
	return entry{here, info}, nil
}

// known returns an error that says what of it matters: it is not there, may not be
// read, or something else is wrong with it. A name that is too long, or that is
// below a file, is not there.
func known(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fs.ErrNotExist
}

// open opens what find has found. Should another thing lie there by now, such as a
// pipe, opening does not wait, and it is not served.
func (v *view) open(e entry) (*os.File, error) {
	f, err := v.root.OpenFile(filepath.FromSlash(e.path), openFlags, 0)
	if err != nil {
		return nil, known(err)
	}
	info, err := f.Stat()
	if err != nil || !os.SameFile(info, e.info) {
		f.Close()
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// A content is what a file holds, as long as it was when it was found. It knows
// whether the file has turned out to be shorter, or could not be read.
type content struct {
	io.ReadSeeker
	left  func() int64
	short atomic.Bool
}

func newContent(f *os.File, size int64) *content {
	s := io.NewSectionReader(f, 0, size)
	return &content{ReadSeeker: s, left: func() int64 {
		at, _ := s.Seek(0, io.SeekCurrent)
		return size - at
	}}
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	if err != nil && c.left() > 0 {
		c.short.Store(true)
	}
	return n, err
}
