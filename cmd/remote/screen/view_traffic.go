package screen

import (
	"fmt"
	"time"

	"charm.land/lipgloss/v2"
)

// traffic is the graph, and below it the last requests in the lines that are left.
func (m model) traffic(room int) (lines []string) {
	t := &m.figures.Traffic
	if room <= 0 || !t.HTTP {
		return nil
	}
	minute := 0
	for _, n := range t.Seconds[max(0, len(t.Seconds)-60):] {
		minute += n
	}
	text := fmt.Sprintf(" %d in a minute, %d in all", minute, t.Total)
	switch {
	case t.Total == 0:
		text = " none yet"
	case m.width < narrow:
		text = fmt.Sprintf(" %d/min", minute)
	}
	l := m.start().add(m.looks.faint, "Requests ")
	l.add(m.looks.good, graph(t.Seconds, max(0, l.left-len(text)))).add(m.looks.plain, text)
	lines = append(lines, l.String())
	for i := len(t.Requests) - 1; i >= 0 && len(lines) < room; i-- {
		lines = append(lines, m.request(&t.Requests[i]))
	}
	return lines
}

// request is a request in one line.
func (m model) request(r *Request) string {
	l := m.start()
	if m.width >= narrow {
		l.add(m.looks.faint, r.Began.Format(time.TimeOnly)+"  ")
	}
	status, look := "…", m.looks.faint
	switch {
	case r.Ended && r.Cut:
		status, look = "cut", m.looks.bad
	case r.Status > 0:
		status, look = fmt.Sprint(r.Status), m.statusLook(r.Status)
	}
	took := "…"
	if r.Ended {
		took = short(r.Took)
	}
	l.add(look, padded(status, 3)).add(m.looks.faint, fmt.Sprintf(" %7s  ", took)).add(m.looks.plain, padded(r.Method, 4)+" ")
	if len(m.figures.Names) > 1 {
		return l.add(m.looks.plain, r.Name+r.Path).String()
	}
	return l.add(m.looks.plain, r.Path).String()
}

// statusLook is how the code of an answer looks.
func (m model) statusLook(code int) lipgloss.Style {
	switch {
	case code >= 500:
		return m.looks.bad
	case code >= 400:
		return m.looks.doubtful
	case code >= 300:
		return m.looks.plain
	}
	return m.looks.good
}

// short is a duration in few columns.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	default:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
}
