//go:build darwin || freebsd || netbsd

package folder

import (
	"io/fs"
	"syscall"
	"time"
)

// change returns when a file was last changed, in its content or otherwise, and its
// number in the file system.
func change(info fs.FileInfo) (at time.Time, number uint64) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime(), 0
	}
	return time.Unix(s.Ctimespec.Unix()), s.Ino
}
