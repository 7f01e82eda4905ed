package ownfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a writer has left that was killed is removed where nobody else writes that file, and
// anything else once no writer can be at it any more. Nothing else is.
func TestSweepRemovesWhatDeadWritersHaveLeft(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("é", MaxName/2)
	left := func(name string, age time.Duration) string {
		t.Helper()
		f, err := begin(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := os.Chtimes(f.Name(), time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return filepath.Base(f.Name())
	}
	plain := func(name string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	mine, others, longs := left("key.pem", 0), left("key.pem-7", 0), left(long, 0)
	stay := []string{plain(".new-notes7"), plain(".new-key.pem-x"), plain("key.pem"), plain("key.new-1"), ".new-folder-1"}
	if err := os.Mkdir(filepath.Join(dir, ".new-folder-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	plain(".new-123") // of an older version
	left("old", 2*unfinishedAge)
	check := func(what string, want ...string) {
		t.Helper()
		var names []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		slices.Sort(want)
		if !slices.Equal(names, want) {
			t.Errorf("%s: %q are there, want %q", what, names, want)
		}
	}
	Sweep(dir, nil)
	check("by age", append([]string{mine, others, longs}, stay...)...)
	Sweep(dir, func(name string) bool { return name == "key.pem" })
	check("of one file", append([]string{others, longs}, stay...)...)
	Sweep(dir, func(name string) bool { return strings.HasPrefix(long, name) })
	check("of a long name", append([]string{others}, stay...)...)
	Sweep(dir, func(string) bool { return true })
	check("of all", stay...)
	Sweep(filepath.Join(dir, "none"), nil)
}
