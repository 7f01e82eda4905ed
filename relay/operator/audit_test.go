package operator_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/relay/operator"
)

func openAudit(t *testing.T, dir string) (*operator.Audit, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	a := operator.OpenAudit(dir, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { a.Close() })
	return a, &log
}

func last(t *testing.T, a *operator.Audit, n int, since time.Time) (on []string) {
	t.Helper()
	list, err := a.Last(n, since)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		on = append(on, e.On)
	}
	return on
}

// A sharedLog is an audit log of several nodes.
type sharedLog struct {
	lines [][]byte
	away  bool
}

func (s *sharedLog) Add(_ time.Time, line []byte) { s.lines = append(s.lines, line) }

func (s *sharedLog) Last(n int, _ time.Time) ([][]byte, error) {
	if s.away {
		return nil, errors.New("away")
	}
	return s.lines[max(0, len(s.lines)-n):], nil
}

// Where nodes share a log, each reads what all have written, and its own while it cannot.
func TestAuditOfSeveralNodes(t *testing.T) {
	s := &sharedLog{}
	var nodes []*operator.Audit
	for _, name := range []string{"a", "b"} {
		a, _ := openAudit(t, t.TempDir())
		a.Shared, a.Node = s, name
		a.Note(operator.Entry{What: "drain", On: "of " + name})
		nodes = append(nodes, a)
	}
	for _, a := range nodes {
		list, err := a.Last(10, time.Time{})
		if err != nil || len(list) != 2 || list[0].Node != "a" || list[1].Node != "b" || list[1].On != "of b" {
			t.Errorf("all: %+v, %v", list, err)
		}
	}
	s.away = true
	if on := last(t, nodes[1], 10, time.Time{}); !slices.Equal(on, []string{"of b"}) {
		t.Errorf("while it is away: %q", on)
	}
}

// The last entries come, the oldest first, from as many files as it takes; files are
// put aside by their size, and only some are kept.
func TestAuditIsRotatedAndReadAcrossFiles(t *testing.T) {
	dir := t.TempDir()
	a, _ := openAudit(t, dir)
	a.SetMax(2000)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	a.SetClock(func() time.Time { return now })
	for i := range 200 {
		a.Note(operator.Entry{Who: "relay", What: "test", On: fmt.Sprint(i), Result: "done"})
		now = now.Add(time.Minute)
	}
	files, err := filepath.Glob(filepath.Join(dir, "audit.log*"))
	if err != nil || len(files) != 5 {
		t.Errorf("%q, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 2200 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	if got := last(t, a, 3, time.Time{}); fmt.Sprint(got) != "[197 198 199]" {
		t.Errorf("the last 3 are %v", got)
	}
	if got := last(t, a, 1000, start.Add(150*time.Minute)); len(got) != 50 || got[0] != "150" {
		t.Errorf("since then: %v", got)
	}
	if got := last(t, a, 60, time.Time{}); len(got) != 60 || got[0] != "140" {
		t.Errorf("the last 60 are %v", got)
	}
	all := last(t, a, 10_000, time.Time{})
	for i := range all {
		if all[i] != fmt.Sprint(200-len(all)+i) {
			t.Fatalf("the order is %v", all)
		}
	}
}

// What cannot be written stops nothing, is told once, and is counted when it can be
// written again.
func TestAuditOutlivesWhatCannotBeWritten(t *testing.T) {
	a, log := openAudit(t, t.TempDir())
	a.Note(operator.Entry{What: "test", On: "first"})
	a.Break()
	for range 3 {
		a.Note(operator.Entry{What: "test", On: "lost"})
	}
	if n := strings.Count(log.String(), "cannot write the audit log"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, log)
	}
	a.Reopen()
	a.Note(operator.Entry{What: "test", On: "then"})
	list, err := a.Last(10, time.Time{})
	if err != nil || len(list) != 3 || list[1].What != "audit.lost" || !strings.HasPrefix(list[1].Result, "3 entries") || list[2].On != "then" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A part of a line, as of a process that was killed, spoils nothing else.
func TestAuditGoesOnAfterAPartOfALine(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit.log"), []byte(`{"what":"test","on":"whole"}`+"\n"+`{"what":"te`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, _ := openAudit(t, dir)
	a.Note(operator.Entry{What: "test", On: "next"})
	if got := last(t, a, 10, time.Time{}); fmt.Sprint(got) != "[whole next]" {
		t.Errorf("got %v", got)
	}
}

// Without a folder the relay goes on, and the log is there once the folder is.
func TestAuditBeginsWhenItCan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	a, log := openAudit(t, dir)
	a.Note(operator.Entry{What: "test", On: "lost"})
	if !strings.Contains(log.String(), "cannot write the audit log") {
		t.Errorf("the log has %s", log)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a.Note(operator.Entry{What: "test", On: "kept"})
	if got := last(t, a, 10, time.Time{}); len(got) != 2 || got[1] != "kept" {
		t.Errorf("got %v", got)
	}
}

// After Close nothing is written, and no file is opened again.
func TestAuditIsOverAfterClose(t *testing.T) {
	a, _ := openAudit(t, t.TempDir())
	a.Note(operator.Entry{What: "test", On: "before"})
	a.Close()
	a.Note(operator.Entry{What: "test", On: "after"})
	if got := last(t, a, 10, time.Time{}); fmt.Sprint(got) != "[before]" {
		t.Errorf("got %v", got)
	}
}

// No audit log keeps nothing, and harms nobody.
func TestNoAudit(t *testing.T) {
	var a *operator.Audit
	a.Note(operator.Entry{What: "test"})
	if got := last(t, a, 1, time.Time{}); got != nil || a.Close() != nil {
		t.Errorf("got %v", got)
	}
}
