//go:build unix

package folder

import (
	"os"
	"syscall"
)

// openFlags open a file to be read. To open a pipe, or another thing that is no file,
// does not wait.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// itself at the end of a path makes nothing be opened there but a folder.
const itself = "/."

// hold opens a folder, so that no other one gets its number once it is gone. It returns nil
// where that cannot be.
func hold(path string) *os.File {
	f, err := os.OpenFile(path, openFlags|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	return f
}
