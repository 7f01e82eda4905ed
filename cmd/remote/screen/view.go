package screen

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	// narrow is the width, in columns, below which labels stand before their texts and
	// not in a column of their own, and requests have no time of day.
	narrow = 60
	// roomy is how many lines have to be left for there to be empty ones.
	roomy = 18
	// margin is how many columns are left free on the left.
	margin = 1
	// freshFor is how long good news stand beside the figures.
	freshFor = time.Minute
	// mostLines is how many lines one row may take.
	mostLines = 3
)

// View implements tea.Model.
func (m model) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	return v
}

// lines are the lines of the screen, as many as the terminal has at most.
func (m model) lines() []string {
	if m.width <= 0 || m.height <= 0 {
		return nil
	}
	var body, all []string
	if m.page == pageNone {
		body = m.front()
	} else {
		all = m.pageLines()
		from := min(m.scroll, max(0, len(all)-m.pageHeight()))
		body = all[from:min(len(all), from+m.pageHeight())]
	}
	body = body[:min(len(body), max(1, m.height-1))]
	if m.height < 2 {
		return body
	}
	for len(body) < m.height-1 {
		body = append(body, "")
	}
	return append(body, m.lastLine(len(all)))
}

// start is a new line behind the margin.
func (m model) start() *line { return newLine(m.width).space(margin) }

// columns are those that texts have.
func (m model) columns() int { return max(1, m.width-margin) }

// front is the screen with the figures: the address first, then what is known of it, then
// what visitors do and what has happened.
func (m model) front() (lines []string) {
	left := func() int { return m.height - 1 - len(lines) }
	lines = append(lines, m.alarms()...)
	lines = append(lines, m.head(left())...)
	empty := left() >= roomy
	section := func(more []string) {
		if len(more) > 0 && empty {
			lines = append(lines, "")
		}
		lines = append(lines, more...)
	}
	section(m.rows(left()))
	if left() <= 0 {
		return lines
	}
	room := left()
	if empty {
		room -= 2
	}
	fresh := m.fresh()
	messages := m.messages(fresh)
	if m.figures.Traffic.HTTP {
		most := max(1, room/2)
		if n := len(fresh); n > 0 { // the last one is worth more than old requests
			most = max(most, min(room-2, len(m.messages(fresh[n-1:]))))
		}
		messages = m.cut(messages, most)
	}
	section(m.traffic(room - len(messages)))
	section(m.cut(messages, max(1, left())))
	return lines
}

// fresh are the messages that still tell of now: those of trouble, those after the last of
// them, which may say that it is over, and for a while all others.
func (m model) fresh() (all []Message) {
	last := len(m.figures.Messages)
	for i := range m.figures.Messages {
		if m.figures.Messages[i].Mood != Plain {
			last = i
		}
	}
	for i, message := range m.figures.Messages {
		if message.Mood != Plain || i > last || m.figures.Now.Sub(message.Time) < freshFor {
			all = append(all, message)
		}
	}
	return all
}

// cut returns no more than so many lines, the last of which says that there are more.
func (m model) cut(lines []string, most int) []string {
	const more = " …"
	if len(lines) <= most {
		return lines
	}
	lines = lines[:most:most]
	if m.width > len(more) {
		lines[most-1] = ansi.Truncate(lines[most-1], m.width-2, "") + m.looks.faint.Render(more)
	}
	return lines
}

// alarms are in red, above everything else.
func (m model) alarms() (lines []string) {
	for _, a := range m.figures.Alarms {
		for i, text := range wrap(a, m.columns()) {
			if i == mostLines || len(lines) >= max(1, m.height/2) {
				break
			}
			lines = append(lines, m.start().add(m.looks.bad, text).String())
		}
	}
	return lines
}

// head is the address and its target; of several names, those around the selected one.
func (m model) head(room int) (lines []string) {
	names := m.figures.Names
	if m.figures.State != "" {
		defer func() {
			for _, text := range wrap(m.figures.State, m.columns()) {
				lines = append(lines, m.start().add(m.looks.doubtful, text).String())
			}
		}()
	}
	switch len(names) {
	case 0:
		return []string{m.start().add(m.looks.faint, "Starting…").String()}
	case 1:
		return m.address(&names[0])
	}
	most := min(len(names), max(1, room/4))
	if most < len(names) {
		most = max(1, most-1)
	}
	from := max(0, min(m.at()-most/2, len(names)-most))
	for i := from; i < from+most; i++ {
		mark := "  "
		if i == m.at() {
			mark = "> "
		}
		lines = append(lines, m.listed(mark, &names[i]))
	}
	if most < len(names) {
		lines = append(lines, m.start().add(m.looks.faint, fmt.Sprintf("  name %d of %d, with ↑ and ↓", m.at()+1, len(names))).String())
	}
	return lines
}

// address is a name with its target, whole, whatever the width.
func (m model) address(n *Name) (lines []string) {
	look := m.looks.strong
	if !n.Up {
		look = m.looks.faint
	}
	const arrow = " -> "
	if l := len(n.URL) + len(arrow) + len(n.Target); l <= m.columns() {
		return []string{m.start().add(look, n.URL).add(m.looks.faint, arrow).add(m.looks.plain, n.Target).String()}
	}
	for _, part := range breakUp(n.URL, m.columns()) {
		lines = append(lines, m.start().add(look, part).String())
	}
	return append(lines, m.start().add(m.looks.faint, "-> ").add(m.looks.plain, n.Target).String())
}

// listed is a name in a line of many.
func (m model) listed(mark string, n *Name) string {
	l := m.start().add(m.looks.strong, mark)
	look, visitors := m.looks.plain, ""
	switch {
	case !n.Up:
		look, visitors = m.looks.faint, "  not up"
	case n.Visitors > 0:
		visitors = fmt.Sprintf("  %d now", n.Visitors)
	}
	l.left -= len(visitors)
	l.add(look, n.URL).add(m.looks.faint, " -> ").add(look, n.Target)
	l.left += len(visitors)
	return l.add(m.looks.doubtful, visitors).String()
}

// rows are what is known of the selected name, in as many lines as leave something for
// what visitors do.
func (m model) rows(room int) (lines []string) {
	n := m.name()
	if n == nil {
		return nil
	}
	for each := mostLines; each > 0; each-- {
		if lines = m.rowsOf(n, each); len(lines) <= room*3/5 {
			return lines
		}
	}
	return lines[:max(0, min(len(lines), max(1, room-3)))]
}

// rowsOf are the rows of a name, none of them longer than so many lines.
func (m model) rowsOf(n *Name, most int) (lines []string) {
	label := 0
	for _, r := range n.Rows {
		label = max(label, len(r.Label))
	}
	for _, r := range n.Rows {
		at, first := label+2, padded(r.Label, label)+"  "
		texts := wrap(r.Text, m.columns()-at)
		if m.width < narrow { // the label is the beginning of the text
			at, first = 2, r.Label+": "
			texts = wrap(first+r.Text, m.columns()-at)
			texts[0] = strings.TrimPrefix(texts[0], first)
		}
		if len(texts) > most {
			texts[most-1] = strings.Join(texts[most-1:], " ") // which is then cut, and says so
			texts = texts[:most]
		}
		for i, text := range texts {
			l := m.start()
			if i == 0 {
				l.add(m.looks.faint, first)
			} else {
				l.space(at)
			}
			lines = append(lines, l.add(m.looks.of(r.Mood), text).String())
		}
	}
	return lines
}

// messages are messages with their hints, the newest first.
func (m model) messages(all []Message) (lines []string) {
	const stamp = len("15:04 ")
	indent := stamp
	if m.width < narrow {
		indent = 2
	}
	for i := len(all) - 1; i >= 0; i-- {
		message := &all[i]
		at := message.Time.Format("15:04")
		for j, text := range wrap(at+" "+message.Text, m.columns()-indent) {
			l := m.start()
			if j == 0 {
				l.add(m.looks.faint, at)
				text = strings.TrimPrefix(text, at)
			} else {
				l.space(indent)
			}
			lines = append(lines, l.add(m.looks.of(message.Mood), text).String())
		}
		for _, h := range message.Hints {
			for j, text := range wrap("hint: "+h, m.columns()-indent-2) {
				l := m.start().space(indent)
				if j > 0 {
					l.space(2)
				}
				lines = append(lines, l.add(m.looks.plain, text).String())
			}
		}
	}
	return lines
}
