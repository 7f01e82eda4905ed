package screen

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A keyHelp is what a key is for: for the last line, or "" where it is not named there,
// and for the page of keys.
type keyHelp struct{ key, short, long string }

// keys are all keys, in the order in which they are shown.
func (m model) keys() []keyHelp {
	all := []keyHelp{
		{"c", "copy", "copy the address (OSC 52: the terminal has to allow it)"},
		{"o", "open", "open the address in a browser of this machine"},
		{"r", "QR", "show the address as a QR code"},
		{"w", "messages", "show all that has happened, with hints"},
	}
	if m.config.Inspector != "" {
		all = append(all, keyHelp{"i", "inspector", "open the inspector, " + m.config.Inspector})
	}
	if len(m.figures.Names) > 1 {
		all = append(all, keyHelp{"↑ ↓", "names", "another name; also j and k, page up and down, home and end"})
	}
	if canSuspend {
		all = append(all, keyHelp{"Ctrl-Z", "", "stop the program as the shell does; fg lets it go on. Meanwhile nobody is served"})
	}
	return append(all, keyHelp{"Esc", "", "back"}, keyHelp{"?", "help", "this page"},
		keyHelp{"q", "stop", "stop: visitors may finish; a second time cuts them off. Ctrl-C is the same"})
}

// fitting are the keys of the last line: in a narrow window those that help most.
func (m model) fitting() (keys []keyHelp) {
	const gap = "  "
	left := m.columns() + len(gap)
	fits := make(map[string]bool)
	all := m.keys()
	for _, key := range []string{"q", "?", "c", "o", "r", "i", "w", "↑ ↓"} {
		for _, k := range all {
			if n := ansi.StringWidth(gap + k.key + " " + k.short); k.key == key && n <= left {
				left -= n
				fits[key] = true
			}
		}
	}
	for _, k := range all {
		if fits[k.key] {
			keys = append(keys, k)
		}
	}
	return keys
}

// lastLine is the answer to the last key, or the keys that there are. Of a page, which has
// so many lines, it says which of them is the first one shown.
func (m model) lastLine(lines int) string {
	l := m.start()
	switch {
	case m.note != "":
		return l.add(m.looks.note, m.note).String()
	case m.stops > 0:
		return l.add(m.looks.doubtful, "Stopping. q once more cuts visitors off.").String()
	case m.page != pageNone:
		text := "Esc back"
		if lines > m.pageHeight() {
			text += fmt.Sprintf("  ↑ ↓ line %d of %d", m.scroll+1, lines)
		}
		return l.add(m.looks.faint, text).String()
	}
	for i, k := range m.fitting() {
		if i > 0 {
			l.space(2)
		}
		l.add(m.looks.strong, k.key).add(m.looks.faint, " "+k.short)
	}
	return l.String()
}

// pageHeight is how many lines of a page there is room for.
func (m model) pageHeight() int { return max(1, m.height-1) }

// pageLines are all lines of the page that is shown.
func (m model) pageLines() []string {
	switch m.page {
	case pageHelp:
		return m.help()
	case pageCode:
		return m.code()
	case pageMessages:
		if len(m.figures.Messages) == 0 {
			return []string{m.start().add(m.looks.faint, "Nothing has happened yet.").String()}
		}
		return m.messages(m.figures.Messages)
	}
	return nil
}

func (m model) help() (lines []string) {
	const at = 8
	for _, k := range m.keys() {
		for i, text := range wrap(k.long, m.columns()-at) {
			l := m.start()
			if i == 0 {
				l.add(m.looks.strong, padded(k.key, at))
			} else {
				l.space(at)
			}
			lines = append(lines, l.add(m.looks.plain, text).String())
		}
	}
	lines = append(lines, "")
	for _, text := range wrap("Paths are shown without what follows the question mark. --plain brings lines in the place of this screen.", m.columns()) {
		lines = append(lines, m.start().add(m.looks.faint, text).String())
	}
	return lines
}

// code is the address as a QR code.
func (m model) code() (lines []string) {
	n := m.name()
	if n == nil {
		return []string{m.start().add(m.looks.faint, "There is no name yet.").String()}
	}
	drawn, err := code(n.URL)
	if err != nil {
		return wrap(err.Error(), m.columns())
	}
	if width, height := ansi.StringWidth(drawn[0]), len(drawn); width > m.width || height > m.pageHeight() {
		for _, text := range wrap(fmt.Sprintf("The QR code takes %d columns and %d lines; there are %d and %d.", width, height+1, m.width, m.height), m.columns()) {
			lines = append(lines, m.start().add(m.looks.plain, text).String())
		}
		return lines
	}
	for _, row := range drawn {
		if m.colour {
			row = painted(row)
		}
		lines = append(lines, row)
	}
	return append(lines, strings.Split(strings.Join(m.address(n), "\n"), "\n")...)
}
