package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"keystay/internal/plain"
)

// usualWidth is that of a terminal that does not tell its own, in columns.
const usualWidth = 80

// Width returns how many columns the terminal has that w writes to, and 0 where
// w is none.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return usualWidth
}

// Wrap writes text, its first line after one indent and the others after
// another, none longer than width columns where its words allow it. All that a
// person at the terminal is told goes through here, and nothing of text that does
// not print, since parts of it are what a certificate, a service or a CA has said.
func Wrap(b *strings.Builder, width int, first, others, text string) {
	b.WriteString(first)
	at := utf8.RuneCountInString(first)
	empty := true
	for _, word := range strings.Fields(plain.Text(text)) {
		n := utf8.RuneCountInString(word)
		switch {
		case empty:
		case at+1+n > width:
			fmt.Fprintf(b, "\n%s", others)
			at = utf8.RuneCountInString(others)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
		empty = false
	}
	b.WriteByte('\n')
}
