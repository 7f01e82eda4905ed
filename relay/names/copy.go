package names

import (
	"cmp"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Copy writes the record, as it is now, to a file that nobody else may read, in the
// place of one that is there, and returns its size in bytes. A copy of the file that is
// in use, made by other means, may not be whole. Until it is written, reads of the
// record wait, as they do for a claim.
func (g *Grants) Copy(file string) (size int64, err error) {
	record, _, done, err := g.use()
	if err != nil {
		return 0, err
	}
	defer done()
	err = record.view(func(tx *bbolt.Tx) (err error) {
		size, err = writeCopy(tx, file)
		return err
	})
	return size, g.damaged(err)
}

// writeCopy writes what a transaction sees.
func writeCopy(tx *bbolt.Tx, file string) (size int64, err error) {
	fresh := file + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer os.Remove(fresh) // if it is still there
	size, err = tx.WriteTo(f)
	if err == nil {
		err = f.Sync()
	}
	if err = cmp.Or(err, f.Close()); err != nil {
		return 0, err
	}
	if err = os.Rename(fresh, file); err == nil {
		syncFolder(filepath.Dir(file))
	}
	return size, err
}
