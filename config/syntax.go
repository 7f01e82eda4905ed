package config

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// syntax reports a file that is no YAML.
func (f *file) syntax(err error, data []byte) {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		number, rest, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, message = n, rest
			if isParserError(message) {
				line++
			}
		}
	}
	// What is missing at the end is missing after the last line's end.
	line = min(line, bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n"))+1)
	e := &Error{From: f.name, Line: line, Message: "not valid YAML: " + message}
	switch {
	case strings.HasPrefix(message, "unknown anchor"):
		e.Line = 0 // the library does not say
		fallthrough
	case strings.HasPrefix(message, "did not find expected alphabetic"): // behind such a sign
		e.Hints = []string{"a word that begins with * or & means something else in YAML: put it in quotes"}
	}
	if value := unquotedLocal(data, line); value != "" {
		e.Hints = []string{fmt.Sprintf("put it in quotes, since it has a colon of its own: local: %q", value)}
	}
	if i, column := tabbedLine(data); i > 0 {
		e.Line, e.Column, e.Message = i, column, "a tab indents this line"
		e.Hints = []string{"YAML is indented with spaces only"}
	}
	if i, column := noBreakSpace(data); i > 0 && len(e.Hints) == 0 {
		e.Line, e.Column, e.Message = i, column, "there is a space that does not break (U+00A0) in this line"
		e.Hints = []string{"write an ordinary space in its place: it may have come from a web page or a word processor"}
	}
	if i, column := openQuote(data); i > 0 && len(e.Hints) == 0 {
		e.Line, e.Column, e.Message = i, column, "a quote opens here, and is not closed in this line"
		e.Hints = []string{"put the same quote at the end of the text"}
	}
	if len(e.Hints) == 0 {
		e.Hints = []string{"look there, and in the line before, for a bracket that is not closed, a colon too many or without a space behind it, or another indent than around it"}
	}
	f.errs = append(f.errs, e)
}

// isParserError reports whether the library's parser, and not its scanner,
// wrote the message: the parser counts lines from 0.
func isParserError(message string) bool {
	what, ok := strings.CutPrefix(message, "did not find expected ")
	return ok && slices.Contains([]string{"<document start>", "node content", "'-' indicator", "key", "',' or ']'", "',' or '}'"}, what)
}

// binaryLine finds the first line that is no text: no UTF-8, or with control
// characters. YAML refuses these as well, without saying where.
func binaryLine(data []byte) int {
	for i, text := range bytes.Split(data, []byte("\n")) {
		text = bytes.TrimSuffix(text, []byte("\r"))
		if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return i + 1
		}
	}
	return 0
}

// colons are local services that YAML takes for maps without quotes.
var colons = regexp.MustCompile(`\blocal: +(:[0-9]+|(?:text|redirect): [^,}\]]*)`)

// unquotedLocal returns such a service in the line, or the one before it.
func unquotedLocal(data []byte, line int) string {
	lines := strings.Split(string(data), "\n")
	for i := min(line, len(lines)); i > 0 && i >= line-1; i-- {
		if m := colons.FindStringSubmatch(lines[i-1]); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return ""
}

// openQuote finds the first line whose value begins with a quote and has no
// other one.
func openQuote(data []byte) (line, column int) {
	for i, text := range bytes.Split(data, []byte("\n")) {
		start := 0
		for _, mark := range []string{": ", "- ", "["} {
			if at := bytes.Index(text, []byte(mark)); at >= 0 {
				start = max(start, at+len(mark))
			}
		}
		value := bytes.TrimLeft(text[start:], " ")
		if len(value) > 0 && (value[0] == '"' || value[0] == '\'') && bytes.Count(value, value[:1]) == 1 {
			return i + 1, len(text) - len(value) + 1
		}
	}
	return 0, 0
}

// noBreakSpace finds the first line with such a space.
func noBreakSpace(data []byte) (line, column int) {
	for i, text := range bytes.Split(data, []byte("\n")) {
		if at := bytes.Index(text, []byte("\u00a0")); at >= 0 {
			return i + 1, at + 1
		}
	}
	return 0, 0
}

// tabbedLine finds the first line with a tab in its indentation.
func tabbedLine(data []byte) (line, column int) {
	for i, text := range bytes.Split(data, []byte("\n")) {
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && len(bytes.TrimSpace(text)) > 0 {
			return i + 1, tab + 1
		}
	}
	return 0, 0
}
