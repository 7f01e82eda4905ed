package inspect

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxQuery is the longest text that is looked for, in bytes, and maxTerms how many words
// of it count.
const maxQuery, maxTerms = 256, 16

// A query is what a person looks for: words that all have to be there, each with what it
// is about before a colon, or without that anywhere. A word behind a dash must not be.
type query []term

type term struct {
	not         bool
	about, text string // in lower case
}

// queryOf reads one; what is about nothing that is known is looked for as it stands.
func queryOf(s string) (q query) {
	s = strings.ToLower(s[:min(len(s), maxQuery)])
	words := strings.Fields(s)
	for _, word := range words[:min(len(words), maxTerms)] {
		var t term
		if len(word) > 1 && word[0] == '-' {
			t.not, word = true, word[1:]
		}
		t.text = word
		if about, text, ok := strings.Cut(word, ":"); ok && text != "" {
			switch about {
			case "method", "status", "name", "path", "type", "is", "over":
				t.about, t.text = about, text
			}
		}
		q = append(q, t)
	}
	return q
}

// reads reports whether it looks into bodies and messages.
func (q query) reads() bool {
	return slices.ContainsFunc(q, func(t term) bool { return t.about == "" })
}

// has reports whether an exchange is looked for.
func (q query) has(e *exchange, c *content) bool {
	for _, t := range q {
		if t.has(e, c) == t.not {
			return false
		}
	}
	return true
}

func (t term) has(e *exchange, c *content) bool {
	switch t.about {
	case "method":
		return strings.EqualFold(e.method, t.text)
	case "status":
		status := strconv.Itoa(c.status)
		return c.status != 0 && (t.text == status || len(t.text) == 3 && t.text[1:] == "xx" && t.text[0] == status[0])
	case "name":
		return strings.Contains(e.name, t.text)
	case "path":
		return strings.Contains(strings.ToLower(e.target), t.text)
	case "type":
		return strings.Contains(mediaType(c.request.header), t.text) || strings.Contains(mediaType(c.answer.header), t.text)
	case "over":
		d, err := time.ParseDuration(t.text)
		return err == nil && c.took > d
	case "is":
		return t.is(e, c)
	}
	return t.anywhere(e, c)
}

func (t term) is(e *exchange, c *content) bool {
	switch t.text {
	case "replay":
		return e.replayOf != 0
	case "websocket":
		return c.switched
	case "running":
		return !c.ended
	case "broken":
		return c.broken
	case "error":
		return c.broken || c.status >= 400
	case "events":
		return c.answer.is("text/event-stream")
	case "grpc":
		return strings.HasPrefix(mediaType(c.request.header), "application/grpc")
	}
	return false
}

// anywhere reports whether the text is in the first line, in a field that is no secret,
// in a body, which is decoded and in lower case, or in a message.
func (t term) anywhere(e *exchange, c *content) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), t.text) }
	if has(e.method+" "+e.name+e.target) || t.text == strconv.Itoa(c.status) {
		return true
	}
	for _, m := range []*message{&c.request, &c.answer} {
		for name, values := range m.header {
			if has(name) {
				return true
			}
			for _, v := range values {
				if !isSecret(name) && has(v) {
					return true
				}
			}
		}
		if bytes.Contains(m.body, []byte(t.text)) {
			return true
		}
	}
	for i := range c.frames {
		if has(string(c.frames[i].data)) {
			return true
		}
	}
	return false
}
