package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is in a backup is the state with the copy in the place of the record that is in
// use, and nothing that is only for the time in which a relay runs.
func TestBackupHasTheCopyInThePlaceOfTheRecord(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"names.db": "in use", namesCopy: "a copy", namesCopy + ".new": "half a copy", "audit.log": "{}\n",
		"acme/account.key": "key", "acme/locks/order": "", "acme/certificates/ca/relay.test/relay.test.key": "key",
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := backup{dir: dir, names: filepath.Join(dir, namesCopy)}
	var out bytes.Buffer
	if err := b.write(&out); err != nil {
		t.Fatal(err)
	}
	var got []string
	archive := tar.NewReader(&out)
	for {
		head, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, head.Name+": "+string(text))
	}
	want := []string{"names.db: a copy", "acme/: ", "acme/account.key: key", "acme/certificates/: ", "acme/certificates/ca/: ", "acme/certificates/ca/relay.test/: ",
		"acme/certificates/ca/relay.test/relay.test.key: key", "audit.log: {}\n"}
	if !slices.Equal(got, want) || b.files != 4 {
		t.Errorf("%d files: %q, want %q", b.files, got, want)
	}
}

// A backup that fails leaves no file that looks like one.
func TestBackupThatFailsLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, recordName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup.tar")
	for _, b := range []backup{
		{dir: dir, names: filepath.Join(dir, namesCopy)}, // somebody has taken the copy away
		{dir: filepath.Join(dir, "gone"), names: filepath.Join(dir, recordName)},
	} {
		if err := b.writeFile(file); err == nil {
			t.Error("no error")
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the file is there")
		}
	}
}

// Root may make the backup of a relay that runs as another user. So it follows no link out
// of the state directory, also where the copy of the record is one.
func TestBackupFollowsNoLinkOutOfTheState(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, namesCopy)); err != nil {
		t.Skip("no symbolic link can be made here: ", err)
	}
	b := backup{dir: dir, names: filepath.Join(dir, namesCopy)}
	var out bytes.Buffer
	if err := b.write(&out); err == nil || !strings.Contains(err.Error(), b.names) || bytes.Contains(out.Bytes(), []byte("secret")) {
		t.Errorf("%v, and %d bytes are written", err, out.Len())
	}
}
