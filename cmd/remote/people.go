package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"keystay/cmd/remote/screen"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/remote/watch"
)

// repeatAfter is how long a sentence that was just said is not said again.
const repeatAfter = 10 * time.Minute

// people is the log of a terminal: a [slog.Handler] that says in sentences what
// happens, each trouble once with what to do about it.
type people struct {
	tell  func(screen.Message) error
	table map[string]string
	with  []slog.Attr
	said  *said
}

// said is what was said last of each message, and when.
type said struct {
	mu   sync.Mutex
	last map[string]string
	when map[string]time.Time
}

// newPeople returns a log that gives its sentences to tell. An alarm is a bad one.
func newPeople(tell func(screen.Message) error) *people {
	return &people{tell: tell, table: words(), said: &said{last: map[string]string{}, when: map[string]time.Time{}}}
}

// Enabled implements [slog.Handler].
func (p *people) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// WithAttrs implements [slog.Handler].
func (p *people) WithAttrs(attrs []slog.Attr) slog.Handler {
	q := *p
	q.with = append(p.with[:len(p.with):len(p.with)], attrs...)
	return &q
}

// WithGroup implements [slog.Handler]. No group has a say in a sentence.
func (p *people) WithGroup(string) slog.Handler { return p }

// Handle implements [slog.Handler].
func (p *people) Handle(_ context.Context, r slog.Record) error {
	attrs := make(map[string]string)
	var hints hint.Lines
	note := func(a slog.Attr) bool {
		if lines, ok := a.Value.Any().(hint.Lines); ok {
			hints = lines
		} else if a.Key == "hint" {
			hints = hint.Lines{a.Value.String()}
		}
		if text := spoken(a.Key, a.Value.Resolve()); text != "" {
			attrs[a.Key] = text
		}
		return true
	}
	for _, a := range p.with {
		note(a)
	}
	r.Attrs(note)
	text := sentence(p.table, r.Message, attrs)
	alarm := r.Message == watch.Message
	if text == "" || !alarm && !p.said.fresh(r, text) {
		return nil
	}
	m := screen.Message{Time: r.Time, Text: text, Hints: hints}
	switch {
	case alarm:
		m.Mood = screen.Bad
	case r.Level >= slog.LevelWarn:
		m.Mood = screen.Doubtful
	}
	return p.tell(m)
}

// lines returns a function that writes sentences to a terminal, wrapped to its width, and
// alarms in red.
func lines(w io.Writer, width func() int) func(screen.Message) error {
	return func(m screen.Message) error {
		all := []string{m.Text}
		for _, line := range m.Hints {
			all = append(all, "  hint: "+line)
		}
		if m.Mood != screen.Bad {
			return say(w, width(), all...)
		}
		var b strings.Builder
		_ = say(&b, width(), all...)
		_, err := io.WriteString(w, red+b.String()+plainAgain)
		return err
	}
}

// red begins bold red text on a terminal, and plainAgain ends it (ECMA-48, section 8.3.117).
const red, plainAgain = "\x1b[1;31m", "\x1b[0m"

// fresh reports whether the text is worth saying: it is not what was said of
// that message a moment ago, but for its numbers. Good news end all silence.
func (s *said) fresh(r slog.Record, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Message {
	case "session is up", "certificate obtained":
		clear(s.last)
	}
	key := strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, text)
	if s.last[r.Message] == key && r.Time.Sub(s.when[r.Message]) < repeatAfter {
		return false
	}
	s.last[r.Message], s.when[r.Message] = key, r.Time
	return true
}

// spoken is an attribute in words.
func spoken(key string, v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Local().Format("2 January 2006, 15:04")
	case slog.KindDuration:
		if d := v.Duration(); d >= time.Second {
			return d.Round(time.Second).String()
		}
		return "a moment"
	}
	text := strings.TrimSpace(plain.Text(v.String()))
	if key == "ca" {
		return caName(text)
	}
	return strings.TrimSuffix(text, ".")
}

// caName is the CA with this directory in words.
func caName(directory string) string {
	u, err := url.Parse(directory)
	switch {
	case err != nil || u.Host == "":
		return directory
	case u.Host == "acme-v02.api.letsencrypt.org":
		return "Let's Encrypt"
	}
	return u.Host
}

// say writes each line wrapped to the width, between words only; what follows
// in a paragraph stands below its beginning.
func say(w io.Writer, width int, lines ...string) error {
	var b strings.Builder
	for _, line := range lines {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		cli.Wrap(&b, width, strings.Repeat(" ", indent), strings.Repeat(" ", indent+2), line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// begin says what the program is about to do.
func (p *people) begin(cfg *config.Remote, domain string) {
	relay := "its relay"
	if len(cfg.Relays) > 0 {
		relay = strings.Join(cfg.Relays, " and ")
	}
	if domain != "" { // else its name is not known yet
		domain += " "
	}
	_ = p.tell(screen.Message{Time: time.Now(), Text: fmt.Sprintf("Connecting %sto %s…", domain, relay)})
}
