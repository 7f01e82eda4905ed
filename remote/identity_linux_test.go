package remote

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"keystay/internal/hint"
)

// asUser runs f as another user does, as far as files are concerned. It takes root.
func asUser(t *testing.T, uid int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to be another user")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(uid), 0, 0); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}

// What only reads does so in a directory that its user may not write, and leaves it as it
// was; what has to write says that it cannot.
func TestReadingNeedsNoRightToWrite(t *testing.T) {
	const user = 54321 // has no name
	dir := t.TempDir()
	label, _, err := Identity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chmod(filepath.Join(dir, identityFile), 0o644), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asUser(t, user, func() {
		if info, err := ShowIdentity(dir); err != nil || info.Label != label {
			t.Errorf("show: %+v, %v", info, err)
		}
		if got, _, err := Identity(dir); err != nil || got != label {
			t.Errorf("identity: %q, %v", got, err)
		}
		var out bytes.Buffer
		if err := exportIdentity(dir, &out, "a passphrase", 1); err != nil || out.Len() == 0 {
			t.Errorf("export: %v", err)
		}
		if _, err := RotateIdentity(dir, true); err == nil || !strings.Contains(strings.Join(hint.All(err), " "), dir) {
			t.Errorf("rotate: %v, %q", err, hint.All(err))
		}
	})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left there: %v, %v", entries, err)
	}
	// An import that has broken off has to be finished first.
	if err := os.Mkdir(filepath.Join(dir, importAside), 0o700); err != nil {
		t.Fatal(err)
	}
	asUser(t, user, func() {
		if info, err := ShowIdentity(dir); err == nil {
			t.Errorf("half an import: %+v", info)
		}
	})
}

// A file of the state directory whose mode keeps its own user out is named, and not the
// directory, which is as it should be.
func TestFileWithoutRightsIsNamed(t *testing.T) {
	const user = 54321 // has no name
	dir := t.TempDir()
	if _, err := openState(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dir, filepath.Join(dir, identityFile), filepath.Join(dir, runFile), filepath.Join(dir, lockFile)} {
		if err := os.Chown(file, user, user); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{identityFile, runFile} {
		file := filepath.Join(dir, name)
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		asUser(t, user, func() {
			_, err := openState(dir)
			if lines := hint.All(err); len(lines) != 1 || !strings.HasSuffix(lines[0], "chmod 600 "+file) {
				t.Errorf("%s: %v, %q", name, err, lines)
			}
		})
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	asUser(t, user, func() {
		_, err := openState(dir)
		if lines := hint.All(err); len(lines) != 1 || !strings.HasPrefix(lines[0], "make "+dir+" writable") {
			t.Errorf("the folder: %v, %q", err, lines)
		}
	})
}
