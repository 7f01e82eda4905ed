package result

import (
	"bytes"
	"fmt"
	"os"
)

// A panel is one set of bars in the picture.
type panel struct {
	title string
	bars  []bar
}

type bar struct {
	label, subject string
	spread
}

// Measures of the picture, in its own units.
const (
	panelWidth = 440
	labelWidth = 150
	barHeight  = 18
	barPitch   = 24
	panelHead  = 34
	margin     = 16
	barWidth   = panelWidth - labelWidth - 110 // the rest is for the figure
)

// colour is what a subject is drawn in.
func colour(subject string) string {
	switch subject {
	case "session":
		return "#2a6f97"
	case "lanes":
		return "#01497c"
	case "direct":
		return "#adb5bd"
	}
	return "#6c757d"
}

// Draw draws the medians as bars, with the least and the greatest as a line, in
// an SVG file.
func Draw(file string, all []Measurement) error {
	var b bytes.Buffer
	drawn := panels(all)
	height, below := margin, 0
	var body bytes.Buffer
	for i, p := range drawn {
		x := margin + (i%2)*(panelWidth+margin)
		p.draw(&body, x, height)
		below = max(below, panelHead+len(p.bars)*barPitch+margin)
		if i%2 == 1 || i == len(drawn)-1 {
			height, below = height+below, 0
		}
	}
	width := 2*panelWidth + 3*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return os.WriteFile(file, b.Bytes(), 0o644)
}

func (p *panel) draw(b *bytes.Buffer, x, y int) {
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", x, y+16, p.title)
	most := 0.0
	for _, r := range p.bars {
		most = max(most, r.high)
	}
	at := func(v float64) float64 { return float64(x+labelWidth) + v/most*barWidth }
	for i, r := range p.bars {
		top := y + panelHead + i*barPitch
		middle, text := top+barHeight/2, top+barHeight-4
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="#333">%s</text>`, x, text, r.label)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`,
			x+labelWidth, top, at(r.median)-at(0), barHeight, colour(r.subject))
		fmt.Fprintf(b, `<path d="M%.1f %dH%.1f" stroke="#e63946" stroke-width="2"/>`, at(r.low), middle, at(r.high))
		fmt.Fprintf(b, `<text x="%.1f" y="%d" fill="#333">%s</text>`+"\n", at(r.high)+6, text, digits(r.median))
	}
}

// panels are what is worth a picture, without those that nothing is known of.
func panels(all []Measurement) (list []panel) {
	add := func(title string, p picker, rows []row) {
		one := panel{title: title}
		for _, r := range rows {
			q := p
			if r.also != nil {
				q.fits = func(m *Measurement) bool { return p.fits(m) && r.also(m) }
			}
			if s := q.spread(all, r.subject); s.n > 0 {
				one.bars = append(one.bars, bar{r.label, r.subject, s})
			}
		}
		if len(one.bars) > 0 {
			list = append(list, one)
		}
	}
	add("8 downloads, MB/s; more is better", picker{on("down", 8), megabytes}, subjects())
	add("8 downloads, relay's CPU seconds per GiB; less is better", picker{on("down", 8), relayCPU}, subjects())
	add("New TLS connections per second; more is better", picker{on("conn", 0), connPerS}, subjects())
	add("Idle visitor, KiB at the relay; less is better", picker{on("idle_visitor", 0), rss}, subjects())
	far := func(m *Measurement) bool { return m.Where == "relay-remote" }
	wan := []row{{"direct", "direct", nil}, {"keystay, session", "session", far}, {"keystay, lanes", "lanes", far}}
	add("1 MB on a fresh connection, 40 ms, ms; less is better", picker{onWAN("fetch", "bbr", 0, 1), p50ms}, wan)
	add("8 downloads, 40 ms, 1 % loss, Mbit/s; more is better", picker{onWAN("down", "bbr", 1, 8), mbps}, wan)
	return list
}
