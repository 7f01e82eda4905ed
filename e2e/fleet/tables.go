package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Tables are the results in Markdown.
func (r *Result) Tables() string {
	var b strings.Builder
	r.restTable(&b)
	r.eventTable(&b)
	r.costTable(&b)
	return strings.TrimSuffix(b.String(), "\n")
}

func heading(b *strings.Builder, title, note string, columns ...string) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n| %s |\n|%s\n", title, note, strings.Join(columns, " | "), " --- |"+strings.Repeat(" ---: |", len(columns)-1))
}

func row(b *strings.Builder, cells ...string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }

func (r *Result) restTable(b *strings.Builder) {
	x := &r.Rest
	heading(b, fmt.Sprintf("%d nodes and %s names, at rest", r.Setting.Nodes, number(float64(r.Setting.Names))),
		"Each device has one name and a link to two nodes. Of a node is its mean, where nothing else is said.", "", "")
	row(b, "links of a node: least, mean, most", fmt.Sprintf("%s, %s, %s", number(float64(x.Least)), number(float64(x.Mean)), number(float64(x.Most))))
	row(b, "links to a node of the device's own region", percent(x.SameRegion))
	row(b, "from a device to the nearer of its nodes and back: half of them, 99 of 100 in less than", millis(x.Away)+", "+millis(x.AwayMost))
	row(b, "memory of a node: its links", size(x.Links))
	row(b, "the names of the other nodes", size(x.Entries))
	row(b, "the record", size(x.Record))
	row(b, "visitors that hop", fmt.Sprintf("%s, with %s more there and back", percent(x.Hops), millis(x.HopAway)))
	row(b, "connections of a node to others", strconv.Itoa(r.Setting.Nodes-1))
	row(b, "PINGs between nodes: each sends, and takes as much", rate(x.BeatBytes))
	row(b, fmt.Sprintf("names that come or go where links last %v on average: each node is told", r.Setting.LinkLasts), fmt.Sprintf("%.0f a second, %s", x.Changes, rate(x.ChangeBytes)))
	row(b, "a snapshot of one node for another", size(x.Snapshot))
	row(b, "those of all others, for a node that starts", fmt.Sprintf("%s, %s", size(x.SnapshotAll), seconds(x.SnapshotTime)))
	row(b, "etcd: writes of names, of which "+fmt.Sprintf("%.0f are new", r.Setting.NewNames), fmt.Sprintf("%.1f a second, %s", x.Writes, rate(x.WriteBytes)))
	row(b, "etcd: told to all nodes", rate(x.Watch))
	row(b, "etcd: at rest, with all nodes", rate(x.EtcdRest))
	b.WriteString("\n")
}

func (r *Result) eventTable(b *strings.Builder) {
	heading(b, "When something happens", "Of the links that have to move: until half of them, 99 of 100 and all are up again elsewhere. Until then each of these devices has its other link. "+
		"Told is what a node is told by the others in the busiest second.", "", "links that move", "devices with none", "no visitor is sent there after", "half, 99 of 100, all are up after", "told", "links of a node after it")
	for _, m := range []struct {
		what string
		Move
	}{{"the process of a node is killed", r.Killed}, {"the machine of a node dies", r.Died}, {"a node is drained", r.Drained}, {"that node takes links again", r.Back}} {
		row(b, m.what, number(float64(m.Links)), number(float64(m.Alone)), seconds(m.Noticed), fmt.Sprintf("%s, %s, %s", seconds(m.Half), seconds(m.Most), seconds(m.All)),
			rate(m.PeakIn), fmt.Sprintf("%s to %s", number(float64(m.Emptiest)), number(float64(m.Fullest))))
	}
	p := &r.Parted
	fmt.Fprintf(b, "\nWhere a region is cut off from the others, and devices and visitors are not, no link moves. All nodes know that after %s. From then on visitors at the other regions cannot reach %s of the names, "+
		"which have both links there, and visitors at the region %s. %s after the network has healed each node knows all names again; a node of the region is sent %s for that.\n\n",
		seconds(p.Noticed), percent(p.Outside), percent(p.Inside), seconds(p.Healed), size(p.Snapshot))
}

func (r *Result) costTable(b *strings.Builder) {
	c := &r.Costs
	heading(b, "What that was made of", "Measured on the real programs.", "", "")
	for _, cost := range [][2]string{
		{"one name in a snapshot between two nodes", size(c.Entry)},
		{"one change, told to one node by itself", size(c.Change)},
		{"from one node to another at rest", rate(c.Beat)},
		{"memory of a link", size(c.LinkMemory)},
		{"memory of a name of another node", size(c.EntryMemory)},
		{"memory of a name in the record", size(c.RecordMemory)},
		{"processor time of a new link, with its claim", micros(c.LinkTime)},
		{"processor time of a name that another node tells by itself", micros(c.EntryTime)},
		{"processor time of a name in the record, at a start", micros(c.RecordTime)},
		{"etcd: a new name, from asking until it is given", micros(c.Grant)},
		{"etcd: new names of three nodes, 16 asked for at once", fmt.Sprintf("%.0f a second", c.Grants)},
		{"etcd: kept of a name", size(c.Kept)},
		{"etcd: told to each node of a new name", size(c.Watch)},
		{"etcd: at rest, with one node", rate(c.Etcd)},
	} {
		row(b, cost[0], cost[1])
	}
}

// spread is how many links a node has: the fewest, and the most.
func (f *Fleet) spread() (least, most int) {
	least = math.MaxInt
	for i := range f.nodes {
		if !f.nodes[i].gone {
			least, most = min(least, f.nodes[i].links), max(most, f.nodes[i].links)
		}
	}
	return least, most
}

func number(n float64) string {
	s := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size is bytes, in three digits.
func size(bytes float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if bytes >= unit.of {
			return strconv.FormatFloat(bytes/unit.of, 'f', digits(bytes/unit.of), 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(bytes, 'f', 0, 64) + " bytes"
}

func digits(n float64) int { return max(0, 2-int(math.Log10(max(n, 1)))) }

func rate(bytes float64) string     { return size(bytes) + " a second" }
func percent(share float64) string  { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }
func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + " ms" }
func micros(d time.Duration) string {
	if d >= time.Millisecond {
		return strconv.FormatFloat(d.Seconds()*1e3, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds()*1e6, 'f', 1, 64) + " µs"
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }
