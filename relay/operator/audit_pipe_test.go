//go:build unix

package operator_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A named pipe or a folder in the place of the audit log is told, with what to do, and
// nothing waits for its reader.
func TestAuditThatIsNoFileIsTold(t *testing.T) {
	for name, make := range map[string]func(string, uint32) error{"a named pipe": syscall.Mkfifo, "a directory": syscall.Mkdir} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, "audit.log"), 0o700); err != nil {
			t.Fatal(err)
		}
		a, log := openAudit(t, dir)
		if text := log.String(); !strings.Contains(text, "is "+name) || !strings.Contains(text, "hint=") {
			t.Errorf("the log: %s", text)
		}
		if _, err := a.Last(1, time.Time{}); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
