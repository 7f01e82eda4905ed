// Package hint is what both programs advise people to do. Each advice stands
// once, in a table of this package. The programs print it, and package docs
// makes the tables of the guides from it, so that the two cannot differ.
package hint

import (
	"log/slog"
	"slices"
	"strings"
)

// An Advice is one row of a table.
type Advice struct {
	// Shown is the message as a program shows it, with … for what varies.
	Shown string

	// Means is what the message is about, for the guide alone. It may be empty.
	Means string

	// Do says what to do, each in one line. A word in capitals, such as DIR,
	// stands for something that With fills in.
	Do []string
}

// With returns the lines of Do, with values in the place of words: pairs of a
// word and its value.
func (a *Advice) With(pairs ...string) []string {
	r := strings.NewReplacer(pairs...)
	lines := make([]string, len(a.Do))
	for i, line := range a.Do {
		lines[i] = r.Replace(line)
	}
	return lines
}

// Help is for a mistake on the command line.
var Help = &Advice{Do: []string{"see COMMAND --help"}}

// Error returns err with the lines of With as its hints, and nil for nil.
func (a *Advice) Error(err error, pairs ...string) error {
	if err == nil {
		return nil
	}
	return &advised{err, a.With(pairs...)}
}

// After returns err with the lines of With behind the hints that it has, and nil
// for nil.
func (a *Advice) After(err error, pairs ...string) error {
	if err == nil {
		return nil
	}
	return &advised{err, append(All(err), a.With(pairs...)...)}
}

// An advised error is an error with hints.
type advised struct {
	err   error
	hints []string
}

// Error returns the text of the error alone.
func (e *advised) Error() string { return e.err.Error() }

// Unwrap returns the error alone.
func (e *advised) Unwrap() error { return e.err }

// Hints returns what to do, in one line each.
func (e *advised) Hints() []string { return e.hints }

// All returns the hints of err and of all that it wraps, each once, the outer
// ones first: one that an outer one begins with is said already. An error has hints when it has the method Hints() []string.
func All(err error) []string {
	var all []string
	var walk func(error)
	walk = func(err error) {
		if h, ok := err.(interface{ Hints() []string }); ok {
			for _, line := range h.Hints() {
				said := func(outer string) bool { return strings.HasPrefix(outer, line) }
				if line != "" && !slices.ContainsFunc(all, said) {
					all = append(all, line)
				}
			}
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				walk(one)
			}
		}
	}
	walk(err)
	return all
}

// Attr returns hints as an attribute of a log line. Without hints it returns
// the empty attribute, which a log leaves out.
func Attr(hints []string) slog.Attr {
	if len(hints) == 0 {
		return slog.Attr{}
	}
	return slog.Any("hint", Lines(hints))
}

// Lines are hints in a log line, of which a log shows one text.
type Lines []string

// String returns them in one line.
func (l Lines) String() string { return strings.Join(l, "; ") }

// MarshalText is what log handlers show.
func (l Lines) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
