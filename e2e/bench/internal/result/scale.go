package result

import (
	"math"

	"keystay/framing"
)

// A growth is a cost that grows with the number of something.
type growth struct {
	label, cost   string
	what, subject string // what is the case of the measurements
	value         func(*Measurement) float64
	unit          string  // of the cost
	each          string  // the unit of one more of them
	factor        float64 // of that unit in the cost's
	limit         float64 // what a small host has of the cost; 0 is no matter
	counts        float64 // in the relay's budget of memory, in bytes; 0 is no matter
}

// What a small host is taken to be: half of its one processor and half of its GiB
// are the relay's own, and the rest the kernel's and the system's.
const (
	hostProcessor = 500 // ms in a second
	hostMemory    = 512 // MiB
	// hostBudget is what the relay's budget has for links and what is on them, by
	// default, in bytes; and linkCounts what a link counts for in it.
	hostBudget = 384 << 20
	linkCounts = 24 << 10
)

func memory(m *Measurement) float64 { return m.Memory }
func spent(m *Measurement) float64  { return m.Spent * 1e3 }

// growths are all that are measured.
func growths() []growth {
	return []growth{
		{"names in the record", "memory", "names", "relay", memory, "MiB", "bytes", 1 << 20, hostMemory, 0},
		{"names in the record", "processor time of a start", "names", "relay", spent, "ms", "µs", 1e3, 0, 0},
		{"idle links", "memory", "links", "session", memory, "MiB", "KiB", 1 << 10, hostMemory, linkCounts},
		{"idle links", "processor", "links", "session", idleCPU, "%", "% for 1,000", 1e3, hostProcessor / 10, 0},
		{"idle visitors, session", "memory", "visitors", "session", memory, "MiB", "KiB", 1 << 10, hostMemory, framing.StreamMemory},
		{"idle visitors, lanes", "memory", "visitors", "lanes", memory, "MiB", "KiB", 1 << 10, hostMemory, framing.StreamMemory + framing.LaneMemory},
		{"new connections", "processor time", "connections", "session", spent, "ms", "µs", 1e3, hostProcessor, 0},
		{"small requests", "processor time", "requests", "session", spent, "ms", "µs", 1e3, hostProcessor, 0},
		{"MiB, session", "processor time", "mib", "session", spent, "ms", "s/GiB", 1.024, hostProcessor, 0},
		{"MiB, lanes", "processor time", "mib", "lanes", spent, "ms", "s/GiB", 1.024, hostProcessor, 0},
	}
}

// line fits a growth: through the median of the rounds at each size.
func (g *growth) line(all []Measurement) (line, bool) {
	values := make(map[int][]float64)
	for i := range all {
		m := &all[i]
		if m.Test == "scale" && m.Case == g.what && m.Subject == g.subject && g.value(m) != 0 {
			values[m.Size] = append(values[m.Size], g.value(m))
		}
	}
	var points []point
	for n, v := range values {
		points = append(points, point{float64(n), spreadOf(v).median})
	}
	return lineThrough(points)
}

// scaleTables are those about the cost of ever more of one thing.
func scaleTables(all []Measurement) []table { return []table{fitTable(all), capacityTable(all)} }

// fitTable is how each cost grows.
func fitTable(all []Measurement) table {
	t := table{title: "How the relay's cost grows", note: "A straight line through the sizes, by least squares: cost = fixed + each · number. " +
		"Of each size what was measured, and in brackets what that is above the line or below it."}
	for _, g := range growths() {
		if l, ok := g.line(all); ok {
			t.cells = append(t.cells, []string{g.label + ": " + g.cost, digits(l.fixed) + " " + g.unit, digits(l.each*g.factor) + " " + g.each, l.residuals() + " " + g.unit})
		}
	}
	if len(t.cells) > 0 {
		t.cells = append([][]string{{"", "fixed", "each", "number: measured (above the line)"}}, t.cells...)
	}
	return t
}

// capacityTable is what a small host can carry, of one kind alone.
func capacityTable(all []Measurement) table {
	t := table{title: "What a host with 1 CPU and 1 GiB carries", note: "By the lines above, of one kind alone: half of the memory and half of such a processor as this one are the relay's own; " +
		"the rest is for the kernel, with its buffers and the network's interrupts, and for the system. The budget is what the relay admits by its own reckoning. Connections, requests and MiB are those of a second."}
	rows := make(map[string][]string)
	for _, g := range growths() {
		l, ok := g.line(all)
		if !ok || g.limit == 0 {
			continue
		}
		column := 1 // by the processor
		switch g.unit {
		case "MiB":
			column = 2
		case "ms": // over and over in a second: what is fixed was before it
			l.fixed = 0
		}
		if rows[g.label] == nil {
			rows[g.label] = []string{g.label, "–", "–", "–"}
			t.cells = append(t.cells, rows[g.label])
		}
		rows[g.label][column] = rough(l.within(g.limit))
		if g.counts > 0 {
			rows[g.label][3] = rough(hostBudget / g.counts)
		}
	}
	if len(t.cells) > 0 {
		t.cells = append([][]string{{"", "by the processor", "by memory", "by the budget"}}, t.cells...)
	}
	return t
}

// rough writes the two digits of a number that are worth reading, or a dash for
// none.
func rough(n float64) string {
	if n < 1 {
		return "–"
	}
	unit := math.Pow(10, max(0, math.Floor(math.Log10(n))-1))
	return count(math.Floor(n/unit) * unit)
}
