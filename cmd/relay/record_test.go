package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/config"
)

// A relay that has run before and has lost its record says so, once: from then on every name
// is free. One that runs for the first time does not.
func TestRecordThatIsGoneIsTold(t *testing.T) {
	dir := t.TempDir()
	said := func() string {
		var log bytes.Buffer
		r, err := openRecord(&config.Relay{StateDir: dir}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		r.close()
		return log.String()
	}
	if got := said(); got != "" {
		t.Errorf("the first time: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "audit.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := said(); got != "" {
		t.Errorf("with its record: %s", got)
	}
	if err := os.Remove(filepath.Join(dir, recordName)); err != nil {
		t.Fatal(err)
	}
	if got := said(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "every name is free") || !strings.Contains(got, "put a backup in the place of "+filepath.Join(dir, recordName)) {
		t.Errorf("without it: %s", got)
	}
	if got := said(); got != "" {
		t.Errorf("after that: %s", got)
	}
}
