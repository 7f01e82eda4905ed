package relay

import (
	"html/template"
	"regexp"
	"strings"
)

// A passage is a paragraph of the operator's words, or with Points a list.
type passage struct {
	Points bool
	Lines  [][]piece
}

// A piece is a part of a line: text, or an address of the web.
type piece struct {
	Text string
	Link template.URL // empty for text
}

// webAddress is what becomes a link: https alone, and neither quotes nor brackets.
var webAddress = regexp.MustCompile(`https://[0-9A-Za-z][^\s<>"'()\[\]{}]*[0-9A-Za-z/#=_~-]`)

// passages reads the operator's words, which are plain text: an empty line stands
// between paragraphs, "- " before each point of a list, and an address of the web
// becomes a link. Everything else is shown as it is written.
func passages(text string) (list []passage) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for block := range strings.SplitSeq(text, "\n\n") {
		for line := range strings.SplitSeq(block, "\n") {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			point, ok := strings.CutPrefix(line, "- ")
			if n := len(list); n == 0 || list[n-1].Lines == nil || list[n-1].Points != ok {
				list = append(list, passage{Points: ok})
			}
			last := &list[len(list)-1]
			last.Lines = append(last.Lines, pieces(point))
		}
		list = append(list, passage{}) // ends what is before it
	}
	kept := list[:0]
	for _, p := range list {
		if p.Lines != nil {
			kept = append(kept, p)
		}
	}
	return kept
}

// pieces finds the addresses in a line.
func pieces(line string) (list []piece) {
	at := 0 // an address begins with https:// and has no quote, so it is safe as one
	for _, m := range webAddress.FindAllStringIndex(line, -1) {
		list = append(list, piece{Text: line[at:m[0]]}, piece{Text: line[m[0]:m[1]], Link: template.URL(line[m[0]:m[1]])})
		at = m[1]
	}
	return append(list, piece{Text: line[at:]})
}

// SetWords sets what the operator says on the relay's own page: plain text, in which an
// empty line stands between paragraphs, "- " before each point of a list, and addresses
// with https:// become links. Empty is nothing. It may be called at any time.
func (s *Server) SetWords(text string) { s.words.Store(&text) }
