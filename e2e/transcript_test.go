package e2e

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A transcript is what a program, or the local site, has written so far.
type transcript struct {
	mu   sync.Mutex
	text []byte
	more chan struct{} // closed at the next Write; nil when nobody waits
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
	return len(p), nil
}

// String returns the text.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// count returns how often re matches in the whole lines so far, and a channel
// that is closed when there is more to look at.
func (t *transcript) count(re *regexp.Regexp) (int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more == nil {
		t.more = make(chan struct{})
	}
	whole := t.text[:bytes.LastIndexByte(t.text, '\n')+1]
	return len(re.FindAll(whole, -1)), t.more
}

// storyPatience bounds every wait of a story that names no bound of its own. It is
// long, for busy machines: no story gets through by waiting for its end.
const storyPatience = 90 * time.Second

// await is the command
//
//	await [-n=N] [-in=DURATION] STREAM REGEXP
//
// It waits until the stream has N matches, 1 by default. A stream is the log
// of a program (its name), its stdout (name.out), or the site's log (site).
func await(ts *testscript.TestScript, neg bool, args []string) {
	n, limit := 1, storyPatience
	args = flags(ts, args, map[string]func(string) error{
		"n":  func(s string) (err error) { n, err = strconv.Atoi(s); return },
		"in": func(s string) (err error) { limit, err = time.ParseDuration(s); return },
	})
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await [-n=N] [-in=DURATION] STREAM REGEXP")
	}
	w := worldOf(ts)
	stream, re := w.stream(ts, args[0]), pattern(ts, args[1])
	over := w.over(args[0])
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		got, more := stream.count(re)
		if got >= n {
			return
		}
		select {
		case <-more:
		case <-over:
			if got, _ := stream.count(re); got < n {
				ts.Fatalf("%s has ended with %d of %d matches for %s", args[0], got, n, re)
			}
			return
		case <-late.C:
			ts.Fatalf("%s has %d of %d matches for %s after %v", args[0], got, n, re, limit)
		}
	}
}

// has is the command
//
//	[!] has [-count=N] STREAM REGEXP
//
// It looks at what the stream has now.
func has(ts *testscript.TestScript, neg bool, args []string) {
	count := -1
	args = flags(ts, args, map[string]func(string) error{
		"count": func(s string) (err error) { count, err = strconv.Atoi(s); return },
	})
	if len(args) != 2 || neg && count >= 0 {
		ts.Fatalf("usage: [!] has [-count=N] STREAM REGEXP")
	}
	got, _ := worldOf(ts).stream(ts, args[0]).count(pattern(ts, args[1]))
	switch {
	case neg && got > 0:
		ts.Fatalf("%s has %d matches for %s", args[0], got, args[1])
	case count >= 0 && got != count:
		ts.Fatalf("%s has %d matches for %s, expected %d", args[0], got, args[1], count)
	case !neg && got == 0:
		ts.Fatalf("%s has no match for %s", args[0], args[1])
	}
}

func (w *world) stream(ts *testscript.TestScript, name string) *transcript {
	s := w.streams[name]
	if s == nil {
		ts.Fatalf("nothing is called %s", name)
	}
	return s
}

// pattern compiles a regular expression in which ^ and $ are a line's.
func pattern(ts *testscript.TestScript, s string) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + s)
	ts.Check(err)
	return re
}

// flags takes -NAME=VALUE from the front of args.
func flags(ts *testscript.TestScript, args []string, known map[string]func(string) error) []string {
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		name, value, _ := strings.Cut(args[0][1:], "=")
		set := known[name]
		if set == nil {
			ts.Fatalf("unknown flag %s", args[0])
		}
		if err := set(value); err != nil {
			ts.Fatalf("%s: %v", args[0], err)
		}
		args = args[1:]
	}
	return args
}
