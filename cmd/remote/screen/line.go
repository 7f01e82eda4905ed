package screen

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"keystay/internal/plain"
)

// looks are how things look. The sixteen colours of the terminal's own are on any of its
// backgrounds as its user wants them.
type looks struct{ plain, strong, faint, good, doubtful, bad, note lipgloss.Style }

func newLooks() looks {
	colour := func(n string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(n)) }
	return looks{
		plain:    lipgloss.NewStyle(),
		strong:   lipgloss.NewStyle().Bold(true),
		faint:    lipgloss.NewStyle().Faint(true),
		good:     colour("2"),
		doubtful: colour("3"),
		bad:      colour("1").Bold(true),
		note:     lipgloss.NewStyle().Reverse(true),
	}
}

// of is how a text of that mood looks.
func (l looks) of(m Mood) lipgloss.Style {
	switch m {
	case Good:
		return l.good
	case Doubtful:
		return l.doubtful
	case Bad:
		return l.bad
	}
	return l.plain
}

// A line is a line of the screen as it grows. It gets no wider than its columns, and
// nothing of what is added steers the terminal: all that is shown goes through here.
type line struct {
	b    strings.Builder
	left int // columns
}

func newLine(columns int) *line { return &line{left: columns} }

// add adds a text, or as much of it as fits.
func (l *line) add(style lipgloss.Style, text string) *line {
	text = plain.Text(text)
	if ansi.StringWidth(text) > l.left {
		text = ansi.Truncate(text, l.left, "…")
	}
	if text != "" {
		l.left -= ansi.StringWidth(text)
		l.b.WriteString(style.Render(text))
	}
	return l
}

// space adds spaces.
func (l *line) space(n int) *line {
	n = max(0, min(n, l.left))
	l.left -= n
	l.b.WriteString(strings.Repeat(" ", n))
	return l
}

func (l *line) String() string { return l.b.String() }

// wrap breaks a text into lines of that many columns: between words where it can.
func wrap(text string, columns int) []string {
	return strings.Split(ansi.Wrap(strings.TrimSpace(plain.Text(text)), max(1, columns), " "), "\n")
}

// breakUp breaks an address into lines of that many columns, with nothing lost between
// them.
func breakUp(text string, columns int) []string {
	return strings.Split(ansi.Hardwrap(plain.Text(text), max(1, columns), true), "\n")
}

// padded is a text, filled up with spaces on its right.
func padded(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-ansi.StringWidth(text)))
}
