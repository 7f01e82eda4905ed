package folder

import (
	"cmp"
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
	top   fs.FileInfo   // of the root
	never []fs.FileInfo // folders of which nothing is served
	found []*os.Root    // where what was found lies; open as long as the view is

	meanwhile func() // of a test
}

// Close closes the folder.
func (v *view) Close() error {
	v.forget(0)
	return v.root.Close()
}

// forget closes where all lies that was found since there were n.
func (v *view) forget(n int) {
	for _, dir := range v.found[n:] {
		dir.Close()
	}
	v.found = v.found[:n]
}

// step stands between two looks at the folder, which may change there.
func (v *view) step() {
	if v.meanwhile != nil {
		v.meanwhile()
	}
}

// isNever reports whether nothing is served of what info is about.
func (v *view) isNever(info fs.FileInfo) bool {
	return slices.ContainsFunc(v.never, func(n fs.FileInfo) bool { return os.SameFile(info, n) })
}

// isInNever reports whether the folder is one of those, or lies in one, however it was come to.
func (v *view) isInNever() bool {
	if len(v.never) == 0 || v.isNever(v.top) {
		return len(v.never) > 0
	}
	dir, err := v.root.Open(".")
	if err != nil {
		return true // nobody knows
	}
	defer dir.Close()
	in, err := liesIn(dir, v.never)
	return in || err != nil
}

// An entry is a file or a folder that may be served.
type entry struct {
	path string // from the top, with slashes, without links; "." is the top
	info fs.FileInfo
	in   *os.Root // the folder that it lies in
	name string   // there; "." where it is that folder
}

// A leadsOutError is the error of a symbolic link that leads out of the folder. To
// a visitor it is one of nothing there.
type leadsOutError struct{ path string }

// Error implements error.
func (e *leadsOutError) Error() string { return e.path + " leads out of the folder" }

// Is reports whether it is fs.ErrNotExist.
func (e *leadsOutError) Is(target error) bool { return target == fs.ErrNotExist }

// A place is a folder on the way to something.
type place struct {
	name string
	info fs.FileInfo
	dir  *os.Root
}

// find looks for a file or folder by the names on the way to it. It follows
// symbolic links by itself, so that each name behind them is looked at, too: a link
// to what is hidden is as hidden. Each folder on the way is opened from the one that it
// lies in, and is the one that was looked at: only names and what was opened count, not
// where a path of several names leads by then.
func (v *view) find(names []string) (e entry, err error) {
	way := []place{{"", v.top, v.root}}
	defer func() {
		for _, p := range way[1:] {
			if err == nil && p.dir == e.in {
				v.found = append(v.found, p.dir)
			} else {
				p.dir.Close()
			}
		}
	}()
	links := 0
	for todo := names; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		here := way[len(way)-1].dir
		switch {
		case name == "" || name == ".": // of a link
			continue
		case name == "..":
			if len(way) == 1 {
				return entry{}, &leadsOutError{strings.Join(names, "/")}
			}
			here.Close()
			way = way[:len(way)-1]
			continue
		case isHidden(name) || len(way) > maxDepth:
			return entry{}, fs.ErrNotExist
		}
		v.step()
		info, err := here.Lstat(name)
		if err != nil {
			return entry{}, known(err)
		}
		v.step()
		switch {
		case v.isNever(info):
			return entry{}, fs.ErrNotExist
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := here.Readlink(name)
			if err != nil {
				return entry{}, known(err)
			}
			if links++; links > maxLinks {
				return entry{}, fs.ErrNotExist
			}
			to = filepath.ToSlash(to)
			if filepath.IsAbs(to) || strings.HasPrefix(to, "/") || filepath.VolumeName(to) != "" {
				return entry{}, &leadsOutError{pathOf(way, name)}
			}
			todo = append(strings.Split(to, "/"), todo...)
		case len(todo) == 0 && (info.IsDir() || info.Mode().IsRegular()):
			return entry{pathOf(way, name), info, here, name}, nil
		case info.IsDir():
			dir, err := enter(here, name, info)
			if err != nil {
				return entry{}, err
			}
			way = append(way, place{name, info, dir})
		default: // a device, a pipe, a socket, or something below a file
			return entry{}, fs.ErrNotExist
		}
	}
	last := way[len(way)-1]
	return entry{cmp.Or(pathOf(way), "."), last.info, last.dir, "."}, nil
}

// pathOf is the path of what lies at these names at the end of a way.
func pathOf(way []place, names ...string) string {
	all := make([]string, 0, len(way))
	for _, p := range way[1:] {
		all = append(all, p.name)
	}
	return strings.Join(append(all, names...), "/")
}

// enter opens a folder in another one. It fails where another thing lies there by now, of
// which it opens none that it would have to wait for.
func enter(in *os.Root, name string, info fs.FileInfo) (*os.Root, error) {
	dir, err := in.OpenRoot(name + itself)
	if err != nil {
		return nil, known(err)
	}
	if now, err := dir.Stat("."); err != nil || !os.SameFile(now, info) {
		dir.Close()
		return nil, fs.ErrNotExist
	}
	return dir, nil
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
	v.step()
	f, err := e.in.OpenFile(e.name, openFlags, 0)
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
