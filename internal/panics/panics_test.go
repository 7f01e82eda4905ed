package panics_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var shared sync.Mutex

func index(list []string, i int) string {
	shared.Lock()
	defer shared.Unlock()
	return list[i]
}

// A panic ends with what was being done, is counted, and is logged once for each
// kind: with the place and without what a visitor may have sent. Locks that are
// unlocked by defer are free by then.
func TestPanicEndsOneThingAndIsCounted(t *testing.T) {
	var out bytes.Buffer
	l := &panics.Log{Logger: slog.New(slog.NewTextHandler(&out, nil)), Passes: io.EOF}
	ended := 0
	try := func(f func()) {
		defer l.Catch("serving a test", func() {
			ended++
			if !shared.TryLock() {
				t.Error("a lock is held")
				return
			}
			shared.Unlock()
		})
		f()
	}
	for range 3 {
		try(func() { index(nil, 7) })
	}
	try(func() { panic("secret of a visitor") })
	try(func() { panic(errors.New("secret of a visitor")) })
	try(func() {})
	if l.Total() != 5 || ended != 5 {
		t.Errorf("%d were caught, %d ended", l.Total(), ended)
	}
	log := out.String()
	if n := strings.Count(log, "level=ERROR"); n != 3 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	if !strings.Contains(log, "index out of range [7] with length 0") || !strings.Contains(log, "panics_test.index:") || !strings.Contains(log, `while="serving a test"`) {
		t.Errorf("the log lacks the error or the place:\n%s", log)
	}
	if strings.Contains(log, "secret") {
		t.Errorf("the log has what a visitor sent:\n%s", log)
	}
}

// A value that is no mistake goes its way, and so does every panic where there is
// no Log.
func TestValueThatIsNoMistakePasses(t *testing.T) {
	for _, l := range []*panics.Log{nil, {Logger: slog.New(slog.DiscardHandler), Passes: io.EOF}} {
		func() {
			defer func() {
				if v := recover(); v != io.EOF {
					t.Errorf("recovered %v", v)
				}
			}()
			defer l.Catch("x", func() { t.Error("it was ended") })
			panic(io.EOF)
		}()
	}
}

// However many kinds there are, the log is bounded.
func TestKindsAreBounded(t *testing.T) {
	var out bytes.Buffer
	l := &panics.Log{Logger: slog.New(slog.NewTextHandler(&out, nil))}
	for i := range 1000 {
		func() {
			defer l.Catch(strings.Repeat("x", i), func() {})
			panic(1)
		}()
	}
	if n := strings.Count(out.String(), "\n"); n != 64 || l.Total() != 1000 {
		t.Errorf("%d lines of %d panics", n, l.Total())
	}
}
