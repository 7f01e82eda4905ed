package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"keystay/internal/amount"
)

const (
	// maxDump is how much of what is no text is shown as numbers, in bytes.
	maxDump = 2 << 10
	// maxShown is how much text is shown of one body, in bytes.
	maxShown = 256 << 10
	// indent is what a level of JSON is moved in by, and maxIndentation how much of that one
	// body may get, in bytes.
	indent, maxIndentation = "  ", 2 << 20
	// maxPairs is how many lines of a form are shown.
	maxPairs = 500
)

// A readable is a body laid out for people: one of its kinds is set.
type readable struct {
	Kind  string // JSON, form, parts, text, bytes, or nothing
	Text  string
	Pairs []pair
	Note  string // what is not shown, and why
}

// A pair is a line of a form.
type pair struct{ Name, Value string }

// laidOut lays a body out.
func laidOut(m *message) readable {
	p := decoded(m)
	r := layOut(p, m.header)
	var notes []string
	if p.Codings != "" && p.Wrong == "" {
		notes = append(notes, "decoded from "+p.Codings)
	}
	if p.Wrong != "" {
		notes = append(notes, p.Wrong)
	}
	if r.Note != "" {
		notes = append(notes, r.Note)
	}
	switch {
	case m.cut():
		notes = append(notes, fmt.Sprintf("only the first %s of %s are kept", amount.Rounded(int64(len(m.body))), amount.Rounded(m.size)))
	case p.Cut:
		notes = append(notes, "only its first "+amount.Rounded(maxDecoded)+" are decoded")
	}
	r.Note = strings.Join(notes, "; ")
	return r
}

func layOut(p plainBody, h http.Header) readable {
	of := mediaType(h)
	switch {
	case len(p.Bytes) == 0:
		return readable{}
	case of == "application/x-www-form-urlencoded":
		if r, ok := formOf(p.Bytes); ok {
			return r
		}
	case of == "multipart/form-data":
		if r, ok := partsOf(p, first(h, "Content-Type")); ok {
			return r
		}
	}
	if looksJSON(of, p.Bytes) {
		if text, ok := indented(p.Bytes); ok {
			return textOf("JSON", text)
		}
	}
	if isText(p.Bytes, p.Cut) {
		return textOf("text", string(p.Bytes))
	}
	return dumpOf(p.Bytes)
}

func looksJSON(of string, b []byte) bool {
	if of == "application/json" || strings.HasSuffix(of, "+json") {
		return true
	}
	b = bytes.TrimSpace(b)
	return (of == "" || strings.HasPrefix(of, "text/plain")) && len(b) > 1 && (b[0] == '{' || b[0] == '[')
}

// indented is JSON with a line for each member, which its numbers and the order of its
// members survive. What is nested so deep that it would become many times as long is not
// indented.
func indented(b []byte) (string, bool) {
	b = bytes.TrimSpace(b)
	var out bytes.Buffer
	if len(b) > maxShown || indentation(b) > maxIndentation || json.Indent(&out, b, "", indent) != nil {
		return "", false
	}
	return out.String(), true
}

// indentation is how many bytes json.Indent adds to JSON, at most, but for what stands
// behind names.
func indentation(b []byte) (n int) {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			n += 1 + depth*len(indent)
		case c == ']' || c == '}':
			depth = max(0, depth-1)
			n += 1 + depth*len(indent)
		case c == ',':
			n += 1 + depth*len(indent)
		}
	}
	return n
}

func textOf(kind, text string) readable {
	r := readable{Kind: kind, Text: strings.ToValidUTF8(text, "\uFFFD")}
	if len(r.Text) > maxShown {
		r.Text, r.Note = strings.ToValidUTF8(r.Text[:maxShown], ""), "only its first "+amount.Rounded(maxShown)+" are shown"
	}
	return r
}

func dumpOf(b []byte) readable {
	r := readable{Kind: "bytes", Text: hex.Dump(b[:min(len(b), maxDump)])}
	if len(b) > maxDump {
		r.Note = "only its first " + amount.Rounded(maxDump) + " are shown"
	}
	return r
}

// isText reports whether bytes are text in UTF-8, of which the last character may be cut.
func isText(b []byte, cut bool) bool {
	if cut {
		last := len(b) - 1
		for last > 0 && len(b)-last < utf8.UTFMax && !utf8.RuneStart(b[last]) {
			last--
		}
		if last >= 0 && !utf8.FullRune(b[last:]) {
			b = b[:last]
		}
	}
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b {
			return false
		}
	}
	return true
}

// formOf is a form as a browser posts it.
func formOf(b []byte) (readable, bool) {
	r := readable{Kind: "form"}
	for part := range strings.SplitSeq(string(b), "&") {
		if part == "" {
			continue
		}
		if len(r.Pairs) == maxPairs {
			r.Note = fmt.Sprintf("only its first %d lines are shown", maxPairs)
			break
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return readable{}, false
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return readable{}, false
		}
		r.Pairs = append(r.Pairs, pair{strings.ToValidUTF8(n, "\uFFFD"), strings.ToValidUTF8(v, "\uFFFD")})
	}
	return r, len(r.Pairs) > 0
}

// partsOf is a form with files, as a browser posts it.
func partsOf(p plainBody, contentType string) (readable, bool) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || parameters["boundary"] == "" {
		return readable{}, false
	}
	r := readable{Kind: "parts"}
	parts := multipart.NewReader(bytes.NewReader(p.Bytes), parameters["boundary"])
	for len(r.Pairs) < maxPairs {
		part, err := parts.NextRawPart()
		if err != nil {
			break
		}
		b, err := io.ReadAll(part)
		name := part.FormName()
		if file := part.FileName(); file != "" {
			name += ", file " + file
		}
		value := string(b)
		switch {
		case !isText(b, err != nil):
			value = amount.Rounded(int64(len(b))) + " of " + mediaTypeOr(part.Header.Get("Content-Type"), "bytes")
		case len(b) > 4<<10:
			value = strings.ToValidUTF8(string(b[:4<<10]), "") + "… (" + amount.Rounded(int64(len(b))) + ")"
		}
		r.Pairs = append(r.Pairs, pair{name, value})
		if err != nil {
			break
		}
	}
	return r, len(r.Pairs) > 0
}

func mediaTypeOr(s, or string) string {
	if s = mediaType(http.Header{"Content-Type": {s}}); s == "" {
		return or
	}
	return s
}

// readable lays a message in a body out.
func (f *frame) readable() readable {
	if f.event {
		return f.readableEvent()
	}
	b := f.data
	switch {
	case f.compressed:
		r := dumpOf(b)
		r.Note = "compressed; what it leans on is not kept"
		return r
	case f.kind == "close" && len(b) >= 2:
		return readable{Kind: "text", Text: fmt.Sprintf("%d %s", binary.BigEndian.Uint16(b), strings.ToValidUTF8(string(b[2:]), "\uFFFD"))}
	case len(b) == 0:
		return readable{}
	}
	var r readable
	text, ok := "", false
	if !f.cut() && (b[0] == '{' || b[0] == '[') {
		text, ok = indented(b)
	}
	switch {
	case ok:
		r = textOf("JSON", text)
	case f.kind != "binary" && isText(b, f.cut()):
		r = textOf("text", string(b))
	default:
		r = dumpOf(b)
	}
	if f.cut() {
		r.Note = fmt.Sprintf("only the first %s of %s are kept", amount.Rounded(int64(len(b))), amount.Rounded(f.size))
	}
	return r
}

// readableEvent lays an event out: its data, with what else it has as a note.
func (f *frame) readableEvent() readable {
	var data, others []string
	for line := range strings.Lines(string(f.data)) {
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "data":
			data = append(data, strings.TrimPrefix(value, " "))
		case "event": // it is the kind
		default:
			others = append(others, line)
		}
	}
	text := strings.Join(data, "\n")
	inner := frame{data: []byte(text), size: int64(len(text))}
	r := inner.readable()
	if f.cut() {
		others = append(others, fmt.Sprintf("only the first %s of %s are kept", amount.Rounded(int64(len(f.data))), amount.Rounded(f.size)))
	}
	r.Note = strings.ToValidUTF8(strings.Join(others, "; "), "\uFFFD")
	return r
}
