//go:build unix

package folder

import (
	"os"
	"syscall"
)

// openFlags open a file to be read. What is none, such as a pipe, is not waited for.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK
