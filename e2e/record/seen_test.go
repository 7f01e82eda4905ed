package record_test

import (
	"os"
	"path/filepath"
	"testing"

	"keystay/e2e/internal/etcd"
	"keystay/relay/cluster/record"
)

// How far the record was is noted also where the folder for that is not there yet, as on
// a node that has its certificate from files of the operator's.
func TestFolderOfWhatWasSeenIsMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cluster", "record.seen")
	a := open(t, etcd.Start(t, nil), func(c *record.Config) { c.File = file })
	ready(t, a)
	if err := a.record.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
