package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"keystay/e2e/internal/world"

	"github.com/rogpeppe/go-internal/testscript"
)

// await is the command
//
//	await [-n=N] [-in=DURATION] STREAM REGEXP
//
// It waits until the stream has N matches, 1 by default. A stream is the log
// of a program (its name), its stdout (name.out), or the site's log (site).
func await(ts *testscript.TestScript, neg bool, args []string) {
	n, limit := 1, world.Patience
	args = flags(ts, args, map[string]func(string) error{
		"n":  func(s string) (err error) { n, err = strconv.Atoi(s); return },
		"in": func(s string) (err error) { limit, err = time.ParseDuration(s); return },
	})
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await [-n=N] [-in=DURATION] STREAM REGEXP")
	}
	w := settingOf(ts)
	stream, re := w.stream(ts, args[0]), pattern(ts, args[1])
	over := w.over(args[0])
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		got, more := stream.Matches(re)
		if got >= n {
			return
		}
		select {
		case <-more:
		case <-over:
			if got, _ := stream.Matches(re); got < n {
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
	got, _ := settingOf(ts).stream(ts, args[0]).Matches(pattern(ts, args[1]))
	switch {
	case neg && got > 0:
		ts.Fatalf("%s has %d matches for %s", args[0], got, args[1])
	case count >= 0 && got != count:
		ts.Fatalf("%s has %d matches for %s, expected %d", args[0], got, args[1], count)
	case !neg && got == 0:
		ts.Fatalf("%s has no match for %s", args[0], args[1])
	}
}

func (w *setting) stream(ts *testscript.TestScript, name string) *world.Transcript {
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
