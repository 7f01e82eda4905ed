package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/plain"
)

const (
	// maxAudit is how long the file of the audit log may be, in bytes. Then it is
	// put aside, and a new one begun.
	maxAudit = 8 << 20
	// keptAudit is how many files that were put aside are kept, as audit.log.1, the
	// newest, and so on.
	keptAudit = 4
	// maxEntry is the longest line, in bytes, without its end: all that may be as
	// long as somebody likes has a limit of its own.
	maxEntry = 8 << 10
	// cutText is how much is kept of each text of a line that would be longer, in
	// bytes: JSON makes six of some.
	cutText = 400
)

// An Audit is the log of every lever and of what was given out: lines of JSON, see
// [Entry], in a file of mode 0600. It holds no secrets: whoever notes something
// gives none. Make it with OpenAudit. A nil Audit keeps nothing.
//
// What cannot be written, as on a disk that is full, is told in the program's log
// once, and in the audit log when it can be written again; nothing else waits or
// fails for it.
type Audit struct {
	// Shared is the log that all nodes of a relay have, and Node the name of this one.
	// They are set before the first entry; nil is none.
	Shared SharedAudit
	Node   string

	file string
	log  *slog.Logger
	now  func() time.Time
	max  int64 // see maxAudit

	mu   sync.Mutex
	out  *os.File // nil while it cannot be opened
	size int64
	torn bool // the last line may have no end
	lost int  // entries that were not written
	over bool // Close was called
}

// A SharedAudit is the audit log of several nodes of a relay. Add does not wait for
// anything; Last returns the last n entries that are not older than since, the oldest
// first.
type SharedAudit interface {
	Add(at time.Time, entry []byte)
	Last(n int, since time.Time) ([][]byte, error)
}

// OpenAudit opens audit.log in dir, which it makes if need be. The caller closes it.
// Where it cannot be opened now, log is told, and it is tried again with each entry.
func OpenAudit(dir string, log *slog.Logger) *Audit {
	a := &Audit{file: filepath.Join(dir, "audit.log"), log: log, now: time.Now, max: maxAudit}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.openLocked(); err != nil {
		a.failedLocked(err)
	}
	return a
}

// Close closes the file. What is noted afterwards is lost.
func (a *Audit) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if a.out == nil {
		return nil
	}
	err := a.out.Close()
	a.out = nil
	return err
}

// Note writes an entry, with the time of now where it has none.
func (a *Audit) Note(e Entry) {
	if a == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = a.now().UTC().Truncate(time.Millisecond)
	}
	e.Node = a.Node
	if a.Shared != nil {
		if line, err := encode(e); err == nil {
			a.Shared.Add(e.Time, line)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return
	}
	if err := a.noteLocked(e); err != nil {
		a.failedLocked(err)
	}
}

func (a *Audit) noteLocked(e Entry) error {
	if a.out == nil {
		if err := a.openLocked(); err != nil {
			return err
		}
	}
	if a.size >= a.max {
		if err := a.rotateLocked(); err != nil {
			return err
		}
	}
	if a.lost > 0 {
		missing := Entry{Time: e.Time, Who: "relay", What: "audit.lost", Result: fmt.Sprintf("%d entries before this one could not be written", a.lost)}
		if err := a.writeLocked(missing); err != nil {
			return err
		}
		a.log.Info("the audit log is written again", "lost", a.lost)
		a.lost = 0
	}
	return a.writeLocked(e)
}

// encode makes a line of an entry, of which it leaves texts out where it would be too
// long.
func encode(e Entry) ([]byte, error) {
	line, err := json.Marshal(e)
	if err == nil && len(line) > maxEntry {
		e.On, e.Reason, e.Result = plain.Cut(e.On, cutText), plain.Cut(e.Reason, cutText), plain.Cut(e.Result, cutText)
		line, err = json.Marshal(e)
	}
	if err == nil && len(line) > maxEntry {
		err = fmt.Errorf("an entry of %d bytes is too long", len(line))
	}
	return line, err
}

// writeLocked appends a line. A part of one, as of a disk that has become full, gets
// its end with the next.
func (a *Audit) writeLocked(e Entry) error {
	line, err := encode(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if a.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := a.out.Write(line)
	a.size += int64(n)
	a.torn = err != nil && n > 0 || a.torn && n == 0
	return err
}

func (a *Audit) openLocked() error {
	if err := ownfile.NoPipe(a.file); err != nil {
		return err
	}
	f, err := os.OpenFile(a.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	// A process that was killed may have left a part of a line.
	a.out, a.size, a.torn = f, info.Size(), info.Size() > 0
	if err := ownfile.Protect(a.file); err != nil {
		a.log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	return nil
}

// rotateLocked puts the file aside and begins a new one.
func (a *Audit) rotateLocked() error {
	for i := keptAudit - 1; i >= 1; i-- {
		if err := os.Rename(a.aside(i), a.aside(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(a.file, a.aside(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	a.out.Close()
	a.out = nil
	return a.openLocked()
}

// aside is the name of the i-th file that was put aside, from 1; 0 is the log itself.
func (a *Audit) aside(i int) string {
	if i == 0 {
		return a.file
	}
	return fmt.Sprintf("%s.%d", a.file, i)
}

// failedLocked counts an entry that was not written, and tells of the first.
func (a *Audit) failedLocked(err error) {
	if a.lost == 0 {
		if err = ownfile.Explain(err, a.file); errors.Is(err, syscall.EISDIR) {
			err = hint.AuditIsFolder.Error(err, "FILE", a.file)
		}
		a.log.Error("cannot write the audit log; the relay goes on without", "err", err, hint.Attr(hint.All(err)))
	}
	a.lost++
}
