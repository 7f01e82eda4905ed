package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors is how many problems are kept for one load. More than this many
// means that the file is something else altogether.
const maxErrors = 50

// maxQuote is how many characters of an outside text an error repeats.
const maxQuote = 80

// An Error is one thing that is wrong with a configuration.
type Error struct {
	// From is the source: the file's name as it was given, a flag
	// ("--listen"), a variable ("KEYSTAY_RELAY_LISTEN"), or empty where
	// nothing was said at all.
	From string

	// Line and Column are the place in the file, counted from 1, or 0 where
	// there is none.
	Line, Column int

	// Key is the key the error is about, as in "tokens[0].names", or empty.
	Key string

	// Message says what failed, in lower case, in one line.
	Message string

	// Hints say what to do, each in one line.
	Hints []string
}

// Error returns the place and the message in one line, then a line starting
// with "hint: " for each hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.From != "" {
		b.WriteString(e.From)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	for _, h := range e.Hints {
		b.WriteString("\nhint: " + h)
	}
	return b.String()
}

// Errors are all the problems of one load, in the order of the file's lines;
// problems of flags and variables follow. It is never returned empty.
type Errors []*Error

// Error returns the text of each problem, on lines of their own.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "\n")
}

// Unwrap lets [errors.As] find each *[Error].
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

// add appends a problem of the value of key. Where the value came from is
// filled in later, by the one who knows the sources.
func (e *Errors) add(key, message string, hints ...string) {
	*e = append(*e, &Error{Key: key, Message: message, Hints: hints})
}

// sorted returns the problems ordered for reading, cut at maxErrors, as an
// error that is nil when there are none. file is the name of the file.
func (e Errors) sorted(file string) error {
	if len(e) == 0 {
		return nil
	}
	rank := func(x *Error) int {
		switch {
		case file == "" || x.From != file:
			return 2
		case x.Line == 0: // of the file as a whole
			return 1
		}
		return 0
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(e) - maxErrors; more > 0 {
		e = append(e[:maxErrors:maxErrors], &Error{Message: fmt.Sprintf("and %d more problems", more)})
	}
	return e
}

// A Warning is something that works but that whoever runs the program should
// know.
type Warning struct {
	// Key is the key it is about, as in "names.policy".
	Key string

	// Message is one line, in lower case.
	Message string

	// Hints say what to do about it, each in one line.
	Hints []string
}

// String returns the message, then a line starting with "hint: " for each hint.
func (w Warning) String() string {
	return (&Error{Message: w.Message, Hints: w.Hints}).Error()
}

// quote returns s in quotes, shortened to maxQuote characters.
func quote(s string) string {
	n := 0
	for i := range s {
		if n == maxQuote {
			return fmt.Sprintf("%q...", s[:i])
		}
		n++
	}
	return fmt.Sprintf("%q", s)
}
