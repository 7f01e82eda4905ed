package names

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"keystay/internal/batch"
	"keystay/internal/boltfile"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

const (
	// lockTimeout is how long to wait for another process to close the file.
	lockTimeout = time.Second
	// maxJoined is how many changes are made in one transaction.
	maxJoined = 1000
)

// ErrDamaged is wrapped by the errors of a record that is not whole. Nothing is
// given out from it.
var ErrDamaged = errors.New("the record of names is damaged")

// A recordFile is an open file of bbolt. All calls of bbolt are made below it, so that
// none of its panics ends the process: bbolt panics where a file is not whole,
// and reading a page that the disk does not have is a fault.
type recordFile struct {
	db   *bbolt.DB
	file *os.File // db's, which holds the lock

	users   sync.WaitGroup // transactions under way
	reading sync.Mutex     // one reader at a time: one that panics may keep bbolt's own locks
	damage  atomic.Pointer[error]

	queue batch.Queue[edit]
}

// An edit changes something in a transaction, or says that it has changed nothing.
type edit func(*bbolt.Tx) (changed bool, err error)

// A queued is an edit whose caller waits for it to be written.
type queued = batch.Entry[edit]

// openFile opens the file, which it makes if there is none. The file is looked
// through first: bbolt does not survive what is not whole.
func openFile(file string) (*recordFile, error) {
	err := look(file)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, err
	}
	s := &recordFile{}
	err = guard(func() (err error) {
		s.db, err = s.open(file, &bbolt.Options{})
		return err
	})
	if err != nil && s.file != nil {
		s.file.Close() // and so unlocked; bbolt may have kept it
	}
	if err == nil && fresh {
		syncFolder(filepath.Dir(file))
	}
	return s, err
}

// syncFolder makes a new file of the folder outlive a power cut, where the
// system can: without the file all names would be free again.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// look checks the file, with a lock that keeps writers away.
func look(file string) error {
	if err := IsRecord(file); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	// A relay makes the file with something in it. So an empty one is what is
	// left of one that had names, and not a new beginning.
	if info.Size() == 0 {
		return fmt.Errorf("%w: the file is empty", ErrDamaged)
	}
	s := &recordFile{}
	return guard(func() error {
		db, err := s.open(file, &bbolt.Options{ReadOnly: true})
		if errors.Is(err, ErrInUse) {
			return err
		}
		if err != nil { // what is wrong with the file, if that is it
			return cmp.Or(check(file), err)
		}
		defer db.Close()
		return check(file)
	})
}

// IsRecord returns an error, with hints, where file is something else than a file, such as
// a folder, so that it cannot be opened as a record. One that is not there is none, but a
// symbolic link to nothing is: the record that it led to may only be away.
func IsRecord(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return ownfile.Dangling(file)
	}
	if err != nil || info.Mode().IsRegular() {
		return nil
	}
	return hint.RecordNoFile.Error(fmt.Errorf("it is %s, and no record of names", kindOf(info)), "FILE", file)
}

// kindOf says what there is that is no file.
func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// check looks through the file.
func check(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err = boltfile.Check(f, info.Size()); errors.Is(err, boltfile.ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// open calls bbolt's Open, and keeps the file that it opens.
func (s *recordFile) open(file string, o *bbolt.Options) (*bbolt.DB, error) {
	o.Timeout = lockTimeout
	o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		f, err = os.OpenFile(name, flag, mode)
		s.file = f
		return f, err
	}
	db, err := bbolt.Open(file, 0o600, o)
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrInUse
	}
	return db, err
}

// broken returns the first error that said that the file is damaged. From then
// on it is neither written nor read: bbolt may still hold a lock.
func (s *recordFile) broken() error {
	if p := s.damage.Load(); p != nil {
		return *p
	}
	return nil
}

// note keeps err if it says that the file is damaged, and returns it.
func (s *recordFile) note(err error) error {
	if errors.Is(err, ErrDamaged) {
		s.damage.CompareAndSwap(nil, &err)
	}
	return err
}

// view runs f in a transaction that reads.
func (s *recordFile) view(f func(*bbolt.Tx) error) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.broken(); err != nil {
		return err
	}
	return s.note(guard(func() error { return s.db.View(f) }))
}

// update runs f in a transaction that writes, together with what others ask for
// meanwhile, as after a restart: each transaction waits for the disk. When f says
// that it has changed nothing, nothing is written. An error of f undoes what it
// has changed, and not what the others have. So f may run several times.
func (s *recordFile) update(f edit) error {
	return s.queue.Do(f, maxJoined, s.write)
}

// errUnchanged ends a transaction in which nothing was changed.
var errUnchanged = errors.New("nothing is changed")

// write makes the changes of a list in one transaction. One that fails is taken
// out, and the others are made again.
func (s *recordFile) write(list []*queued) {
	left := list
	for len(left) > 0 {
		if err := s.broken(); err != nil {
			answer(left, err)
			break
		}
		failed := -1
		err := guard(func() error {
			return s.db.Update(func(tx *bbolt.Tx) error {
				changed := false
				for i, c := range left {
					failed = i
					one, err := c.Make(tx)
					if err != nil {
						return err
					}
					changed = changed || one
				}
				failed = -1
				if !changed {
					return errUnchanged
				}
				return nil
			})
		})
		if errors.Is(err, errUnchanged) {
			err = nil
		}
		if _ = s.note(err); failed < 0 {
			answer(left, err)
			break
		}
		left[failed].Err = err
		left = append(left[:failed:failed], left[failed+1:]...)
	}
}

func answer(list []*queued, err error) {
	for _, c := range list {
		c.Err = err
	}
}

// close closes the file when the transactions under way have ended. Nobody
// begins one meanwhile. After damage bbolt may wait for a lock for ever: then the
// lock of the file is given back, and the memory is not.
func (s *recordFile) close() error {
	if s.broken() != nil {
		return s.file.Close()
	}
	s.users.Wait()
	return guard(s.db.Close)
}

// reaches says that the file that is open has less than a size.
func (s *recordFile) reaches(size int64) error {
	info, err := s.file.Stat()
	if err == nil && info.Size() < size {
		err = fmt.Errorf("%w: the file is cut short", ErrDamaged)
	}
	return err
}

// inPlace says that the next start would not find the file that is open.
func (s *recordFile) inPlace(file string) error {
	mine, err := s.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is gone", ErrDamaged, file)
	case err == nil && !os.SameFile(mine, there):
		return fmt.Errorf("%w: %s is another file now", ErrDamaged, file)
	}
	return err
}
