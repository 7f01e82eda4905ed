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
// something. A part of it that is moved by itself is not known where it has gone, nor one that
// is mounted elsewhere. Several Folders may share a Never, which then knows what any of them
// has seen.
type Never struct {
	path string

	mu   sync.Mutex
	seen []fs.FileInfo // not changed once it was returned
	held []*os.File    // of seen, as far as the system needs them to be open
}

// NewNever returns a Never of the folder at path, which need not be there yet. It keeps what
// it has seen open, 16 folders at most, until it is closed.
func NewNever(path string) *Never {
	n := &Never{path: path}
	n.look()
	return n
}

// Close lets go of what is open. The Never is not used any more then.
func (n *Never) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.held {
		f.Close()
	}
	n.held = nil
	return nil
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
	if f := hold(n.path); f != nil {
		if held, err := f.Stat(); err == nil {
			info = held // should the path lead elsewhere by now
		}
		if n.held = append(n.held, f); len(n.held) > maxSeen {
			n.held[0].Close()
			n.held = slices.Delete(n.held, 0, 1)
		}
	}
	n.seen = append(slices.Clone(n.seen[max(0, len(n.seen)-maxSeen+1):]), info)
	return n.seen
}
