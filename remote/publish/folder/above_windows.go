package folder

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/windows"
)

// liesIn reports whether a folder that is open lies in one of those, however deep. The path
// by which Windows knows it has no links, and does not change while it is open.
func liesIn(dir *os.File, those []fs.FileInfo) (bool, error) {
	var path []uint16
	for n := uint32(windows.MAX_PATH); int(n) > len(path); { // until it has room
		path = make([]uint16, n)
		var err error
		if n, err = windows.GetFinalPathNameByHandle(windows.Handle(dir.Fd()), &path[0], n, 0); err != nil {
			return false, err
		}
	}
	at := windows.UTF16ToString(path)
	for up := filepath.Dir(at); up != at; at, up = up, filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(those, func(n fs.FileInfo) bool { return os.SameFile(info, n) }) {
			return true, nil
		}
	}
	return false, nil
}
