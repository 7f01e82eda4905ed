package folder

import "os"

// openFlags open a file to be read.
const openFlags = os.O_RDONLY

// itself is nothing: to open another thing than a folder does not wait.
const itself = ""

// hold does nothing: Windows gives the number of a file that is gone to no other one for very
// long, and lets nobody move a folder away that is open.
func hold(string) *os.File { return nil }
