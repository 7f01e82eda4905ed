//go:build unix

package folder

import (
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// liesIn reports whether a folder that is open lies in one of those, however deep. It goes
// up from the folder itself, and not by its path, and needs no folder above to be readable.
func liesIn(dir *os.File, those []fs.FileInfo) (in bool, err error) {
	top, err := os.Stat("/")
	if err != nil {
		return false, err
	}
	conn, err := dir.SyscallConn()
	if err != nil {
		return false, err
	}
	closed := conn.Control(func(fd uintptr) {
		for up := ".."; !in; up += "/.." { // a path that gets too long fails
			var at unix.Stat_t
			for err = unix.EINTR; err == unix.EINTR; {
				err = unix.Fstatat(int(fd), up, &at, 0)
			}
			if err != nil {
				return
			}
			is := func(info fs.FileInfo) bool {
				s, ok := info.Sys().(*syscall.Stat_t)
				return ok && s.Dev == at.Dev && s.Ino == at.Ino
			}
			in = slices.ContainsFunc(those, is)
			if is(top) {
				break
			}
		}
	})
	if closed != nil {
		return false, closed
	}
	return in, err
}
