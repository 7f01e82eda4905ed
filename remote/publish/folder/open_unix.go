//go:build unix

package folder

import (
	"os"
	"syscall"
)

// openFlags open a file to be read. To open a pipe, or another thing that is no file,
// does not wait.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK
