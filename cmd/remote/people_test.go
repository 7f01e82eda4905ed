package main

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"keystay/config"
	"keystay/internal/hint"
)

// tell returns what a terminal of that width shows of what log does.
func tell(width int, log func(*slog.Logger)) string {
	var out bytes.Buffer
	log(slog.New(newPeople(lines(&out, func() int { return width }))))
	return out.String()
}

func TestTerminalGetsSentencesWithHints(t *testing.T) {
	refused := hint.NothingListens.Error(errors.New("reach relay relay.net: connection refused"))
	for _, c := range []struct {
		log  func(*slog.Logger)
		want string
	}{
		{func(l *slog.Logger) { l.Info("session is up", "relay", "relay.net", "name", "xyz.relay.net") }, "Connected to the relay relay.net.\n"},
		{func(l *slog.Logger) { l.With("relay", "relay.net").Info("session is up", "after", 90*time.Second) }, "Connected to the relay relay.net again, after 1m30s.\n"},
		{func(l *slog.Logger) { l.Info("another link is up", "relay", "relay.net") }, ""},
		{func(l *slog.Logger) { l.Debug("anything") }, ""},
		{func(l *slog.Logger) {
			l.Info("ordering certificate", "name", "x.net", "ca", "https://acme-v02.api.letsencrypt.org/directory", "validation", "http-01")
		}, "Asking Let's Encrypt for a certificate for x.net…\n"},
		{func(l *slog.Logger) {
			l.Info("ordering certificate", "name", "x.net", "ca", "https://ca.test:14000/dir")
		}, "Asking ca.test:14000 for a certificate for x.net…\n"},
		{func(l *slog.Logger) {
			l.Warn("no session with the relay; trying again", "relay", "relay.net", "err", refused, "in", time.Second, hint.Attr(hint.All(refused)))
		}, "Not connected: reach relay relay.net: connection refused. Trying again.\n" +
			"  hint: " + hint.NothingListens.Do[0] + "\n"},
		{func(l *slog.Logger) {
			l.Warn("no certificate obtained", "name", "x.net", "why", "no certificate yet", "error", errors.New("the CA ca.test cannot be reached: refused."), "next", "14s, or at once after a restart", hint.Attr([]string{"one; half", "two"}))
		}, "No certificate for x.net: the CA ca.test cannot be reached: refused. Tried again in 14s, or at once after a restart.\n  hint: one; half\n  hint: two\n"},
		{func(l *slog.Logger) { l.Warn("something without words", "err", "a\x1b[31mb", "number", 7) }, "Something without words: a [31mb.\n"},
		{func(l *slog.Logger) { l.Warn("") }, ".\n"},
	} {
		if got := tell(1000, c.log); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// What others have written is not read for braces and brackets.
func TestForeignTextIsNoTemplate(t *testing.T) {
	for range 20 { // attributes are in a map, whose order varies
		got := tell(1000, func(l *slog.Logger) {
			l.Warn("no certificate obtained", "name", "{error}", "error", errors.New("{next} [{name}] {after}"), "next", time.Minute)
		})
		if want := "No certificate for {error}: {next} [{name}] {after}. Tried again in 1m0s.\n"; got != want {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
		got = tell(1000, func(l *slog.Logger) {
			l.Warn("every user could read /a[{none}]/{file}/{err}", "err", "{file}", "file", "{err}")
		})
		if want := "Every user could read /a[{none}]/{file}/{err}: {file} ({err}).\n"; got != want {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// Neither a hint, a message nor an attribute steers the terminal, whatever text
// of others is in it.
func TestSentencesShowNothingThatDoesNotPrint(t *testing.T) {
	const owned = "\x1b]0;owned\a\x1b[2J\u202e\u009b\r\n"
	got := tell(1000, func(l *slog.Logger) {
		l.Warn("x "+owned+"y", "err", errors.New("z "+owned), hint.Attr(hint.CATerms.With("PAGE", "https://ca/"+owned)))
		l.Info("session is up", "relay", owned, "after", owned)
	})
	var out bytes.Buffer
	newPeople(lines(&out, func() int { return 80 })).begin(&config.Remote{Relays: []string{owned}}, owned)
	for _, text := range []string{got, out.String()} {
		for _, c := range text {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Errorf("%q: %q", c, text)
			}
		}
	}
	if n := strings.Count(got, "\n"); n != 3 || !strings.Contains(got, "]0;owned") {
		t.Errorf("%d lines: %q", n, got)
	}
}

// A name that is not known yet, as with remote docker, leaves no gap.
func TestBeginWithoutANameLeavesNoGap(t *testing.T) {
	var out bytes.Buffer
	newPeople(lines(&out, func() int { return 80 })).begin(&config.Remote{Relays: []string{"relay.test"}}, "")
	if got := out.String(); got != "Connecting to relay.test…\n" {
		t.Errorf("%q", got)
	}
}

// A trouble that repeats is said once, until something else is the matter or it
// was over.
func TestTroubleIsSaidOnce(t *testing.T) {
	got := tell(1000, func(l *slog.Logger) {
		for i := range 5 {
			l.Warn("the local service does not answer", "local", "x", "err", "refused after "+strconv.Itoa(i)+"s")
		}
		l.Warn("the local service does not answer", "local", "x", "err", "silent")
		l.Warn("the local service does not answer", "local", "x", "err", "silent")
		l.Info("session is up", "relay", "r")
		l.Warn("the local service does not answer", "local", "x", "err", "silent")
	})
	if n := strings.Count(got, "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, got)
	}
}

// Lines are wrapped between words; only a word longer than the terminal is not.
func TestWrapBetweenWords(t *testing.T) {
	long := "https://kwr2kcyyyjbfvdmmzdnxsl2k5ybcrbtq.relay.net"
	for _, width := range []int{20, 40, 60, 80} {
		got := tell(width, func(l *slog.Logger) {
			l.Warn("many words that are longer together than any terminal is wide, and a name", "err", long+" in the middle – of them",
				hint.Attr([]string{"a hint which is longer than a narrow terminal, too"}))
		})
		if words := strings.Fields(got); !strings.Contains(got, long) || words[0] != "Many" {
			t.Errorf("%d:\n%s", width, got)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width && len(strings.Fields(line)) > 1 {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
	}
}

// Each message in the table is one that the programs log.
func TestSentencesAreOfMessages(t *testing.T) {
	var source strings.Builder
	for _, room := range []string{"remote", "acme", "cmd/remote", "internal/cli"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(p string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") && filepath.Base(p) != "sentences.go" {
				b, rerr := os.ReadFile(p)
				source.Write(b)
				return rerr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for message := range words() {
		if certificate, ok := strings.CutPrefix(message, "certificate "); ok { // and the kind of an event
			message = certificate
		}
		if !strings.Contains(source.String(), `"`+message+`"`) {
			t.Errorf("nothing logs %q", message)
		}
	}
}
