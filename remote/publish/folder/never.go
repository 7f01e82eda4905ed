package folder

import (
	"io/fs"
	"os"
	"slices"
	"sync"
)

// maxSeen is how many folders that were once at one path are known.
const maxSeen = 16

// A never is Options.Never, with each folder that was there since the start: it may be moved
// away, or its path may lead elsewhere.
type never struct {
	path string

	mu   sync.Mutex
	seen []fs.FileInfo // not changed once it was returned
}

// look returns the folders that are, or were, at the path.
func (n *never) look() []fs.FileInfo {
	if n.path == "" {
		return nil
	}
	info, err := os.Stat(n.path)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && !slices.ContainsFunc(n.seen, func(old fs.FileInfo) bool { return os.SameFile(old, info) }) {
		n.seen = append(slices.Clone(n.seen[max(0, len(n.seen)-maxSeen+1):]), info)
	}
	return n.seen
}
