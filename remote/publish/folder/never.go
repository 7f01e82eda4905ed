package folder

import (
	"io/fs"
	"os"
	"slices"
	"sync"
)

// maxSeen is how many folders that were once at one path are known.
const maxSeen = 16

// A Never is a folder of which nothing is served, wherever it lies and whenever it is made or
// moved: one with secrets. So is each folder that was seen at its path since NewNever: it may
// be moved away, or the path may lead elsewhere. It is seen when a [Folder] is asked for
// something. Several Folders may share a Never, which then knows what any of them has seen.
type Never struct {
	path string

	mu   sync.Mutex
	seen []fs.FileInfo // not changed once it was returned
}

// NewNever returns a Never of the folder at path, which need not be there yet.
func NewNever(path string) *Never {
	n := &Never{path: path}
	n.look()
	return n
}

// look returns the folders that are, or were, at the path.
func (n *Never) look() []fs.FileInfo {
	if n == nil {
		return nil
	}
	info, err := os.Stat(n.path)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || slices.ContainsFunc(n.seen, func(old fs.FileInfo) bool { return os.SameFile(old, info) }) {
		return n.seen
	}
	n.seen = append(slices.Clone(n.seen[max(0, len(n.seen)-maxSeen+1):]), info)
	return n.seen
}
