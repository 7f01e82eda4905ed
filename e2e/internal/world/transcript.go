package world

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// A Transcript is what a program, or a local site, has written so far. The zero
// value is ready, and its methods may be called from any goroutine.
type Transcript struct {
	mu   sync.Mutex
	text []byte
	more chan struct{} // closed at the next Write; nil when nobody waits
}

// Write implements io.Writer.
func (t *Transcript) Write(p []byte) (int, error) {
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
func (t *Transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// Count returns how often words are in the text.
func (t *Transcript) Count(words string) int { return strings.Count(t.String(), words) }

// Last returns the last line with words in it, or nothing.
func (t *Transcript) Last(words string) (line string) {
	for at := range strings.SplitSeq(t.String(), "\n") {
		if strings.Contains(at, words) {
			line = at
		}
	}
	return line
}

// Matches returns how often re matches in the whole lines so far, and a channel
// that is closed when there is more to look at.
func (t *Transcript) Matches(re *regexp.Regexp) (n int, more <-chan struct{}) {
	text, more := t.lines()
	return len(re.FindAll(text, -1)), more
}

// Find returns what the last group of re, or re, matches first in the whole
// lines so far; ok is false where nothing does. More is closed when there is more
// to look at.
func (t *Transcript) Find(re *regexp.Regexp) (found string, ok bool, more <-chan struct{}) {
	text, more := t.lines()
	m := re.FindSubmatch(text)
	if m == nil {
		return "", false, more
	}
	return string(m[len(m)-1]), true, more
}

func (t *Transcript) lines() (text []byte, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more == nil {
		t.more = make(chan struct{})
	}
	return t.text[:bytes.LastIndexByte(t.text, '\n')+1], t.more
}
