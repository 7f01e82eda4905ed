package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that changes while it is read again, such as one of passwords, is read once
// more: what was there before counts as read.
func TestAFileThatChangesInAReloadIsReadOnceMore(t *testing.T) {
	dir := t.TempDir()
	look := func(names ...string) map[string]os.FileInfo {
		seen := make(map[string]os.FileInfo)
		for _, name := range names {
			seen[name], _ = os.Stat(filepath.Join(dir, name))
		}
		return seen
	}
	write := func(name, text string, at time.Time) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Unix(1_700_000_000, 0)
	write("users", "1", at)
	before := look("users", "gone", "later")
	write("users", "2", at.Add(time.Second)) // behind the reading of it
	write("new", "1", at)
	write("later", "1", at)
	is := look("users", "new", "later")
	taken := asRead(before, maps.Clone(is))
	if got := differ(is, taken); len(got) != 2 || got[0] != "later" || got[1] != "users" {
		t.Errorf("changed is %q", got)
	}
	taken = asRead(is, look("users", "new", "later"))
	if got := differ(look("users", "new", "later"), taken); len(got) != 0 {
		t.Errorf("changed is %q, and nothing has", got)
	}
}
