package result

import "fmt"

// names of the subjects, in the order of the tables.
func subjects() []row {
	return []row{
		{"direct", "direct", nil},
		{"HAProxy, no tunnel", "haproxy", nil},
		{"HAProxy, 1 MiB pipes", "haproxy-pipes", nil},
		{"tcpproxy, no tunnel", "tcpproxy", nil},
		{"keystay, session", "session", nil},
		{"keystay, lanes", "lanes", nil},
	}
}

// on returns what fits measurements of a test on loopback, with that many flows;
// 0 is any number.
func on(test string, flows int) func(*Measurement) bool {
	return func(m *Measurement) bool {
		return m.Test == test && m.Link == "loopback" && (flows == 0 || m.Flows == flows)
	}
}

func mbps(m *Measurement) float64       { return m.Mbps }
func megabytes(m *Measurement) float64  { return m.Mbps / 8 }
func relayCPU(m *Measurement) float64   { return m.RelayCPU }
func remoteCPU(m *Measurement) float64  { return m.RemoteCPU }
func connPerS(m *Measurement) float64   { return m.ConnPerS }
func cpuPerConn(m *Measurement) float64 { return m.RelayCPUPerConn }
func p50(m *Measurement) float64        { return m.P50 }
func p99(m *Measurement) float64        { return m.P99 }
func p999(m *Measurement) float64       { return m.P999 }
func rss(m *Measurement) float64        { return m.RSS }
func fds(m *Measurement) float64        { return m.FDs }
func idleCPU(m *Measurement) float64    { return m.IdleCPU }
func first(m *Measurement) float64      { return m.First }
func firstms(m *Measurement) float64    { return m.First / 1e3 }
func p50ms(m *Measurement) float64      { return m.P50 / 1e3 }
func p99ms(m *Measurement) float64      { return m.P99 / 1e3 }

// bulkColumns are the four kinds of bulk with one value of each.
func bulkColumns(value func(*Measurement) float64) []column {
	return []column{
		{"1 download", picker{on("down", 1), value}},
		{"8 downloads", picker{on("down", 8), value}},
		{"1 upload", picker{on("up", 1), value}},
		{"8 uploads", picker{on("up", 8), value}},
	}
}

// latencyColumns are the percentiles of one test.
func latencyColumns(test string, flows int, prefix string) []column {
	fits := on(test, flows)
	return []column{
		{prefix + "p50", picker{fits, p50}},
		{prefix + "p99", picker{fits, p99}},
		{prefix + "p99.9", picker{fits, p999}},
	}
}

func tables(all []Measurement) []table {
	const each = "Median of the rounds, and (least–greatest)."
	keepalive := append(latencyColumns("keepalive", 1, "1 connection, "), latencyColumns("keepalive", 4, "4 connections, ")...)
	return []table{
		grid("Bulk, loopback", "MB/s (10^6 bytes) in all. "+each, "MB/s", all, subjects(), bulkColumns(megabytes)),
		grid("Processor time of the relay, loopback", "CPU seconds per GiB of the process between visitor and server. "+each,
			"s/GiB", all, subjects(), bulkColumns(relayCPU)),
		grid("Processor time of the device, loopback", "CPU seconds per GiB of the process that serves the site, its TLS included. "+each,
			"s/GiB", all, subjects(), bulkColumns(remoteCPU)),
		grid("New connections, loopback", "8 at once, each a full TLS handshake and one small request. "+each, "", all, subjects(), []column{
			{"connections/s", picker{on("conn", 0), connPerS}},
			{"relay CPU, ms each", picker{on("conn", 0), cpuPerConn}},
		}),
		grid("Small requests on open connections, loopback", "µs. "+each, "µs", all, subjects(), keepalive),
		grid("Small requests while a download runs, loopback", "µs; one connection, beside one download without end. "+each,
			"µs", all, subjects(), latencyColumns("busy", 1, "")),
		grid("Idle links", "Resident memory of the relay for each remote that is connected and idle, and the processor time for all of them. "+each,
			"", all, subjects(), idleColumns(all, "idle_remote")),
		grid("Idle visitors", "Resident memory and descriptors of the process between for each visitor that is connected and idle. "+
			"What the kernel keeps for sockets is not in it. "+each,
			"", all, subjects(), idleColumns(all, "idle_visitor")),
		hopTable(all, each),
		homeRequests(all, each),
		homeFlows(all, each),
		homeRatios(all),
		routeTable(all, each),
		wanTable(all, each),
		ratioTable(all),
	}
}

func idleColumns(all []Measurement, test string) []column {
	fits := on(test, 0)
	n := 0
	for i := range all {
		if fits(&all[i]) {
			n = max(n, all[i].Each)
		}
	}
	of := fmt.Sprintf("%d of them: ", n)
	return []column{
		{of + "KiB each", picker{fits, rss}},
		{"descriptors each", picker{fits, fds}},
		{"% of one processor", picker{fits, idleCPU}},
	}
}

// routeTable has a row for each number of names, so that they can be compared.
func routeTable(all []Measurement, note string) table {
	known := make(map[int]bool)
	var rows []row
	for i := range all {
		if n := all[i].Names; n > 0 && !known[n] {
			known[n] = true
			rows = append(rows, row{fmt.Sprintf("%d names", n), "session", func(m *Measurement) bool { return m.Names == n }})
		}
	}
	in := func(kind string) func(*Measurement) bool {
		return func(m *Measurement) bool { return m.Test == "route" && m.Case == kind }
	}
	return grid("Routing", "µs. To a site: until the first answer on a new connection. To a name that nobody has: until it is refused. "+note,
		"known to the relay", all, rows, []column{
			{"to a site, p50", picker{in("present"), p50}},
			{"p99", picker{in("present"), p99}},
			{"to no one, p50", picker{in("unknown"), p50}},
			{"p99 ", picker{in("unknown"), p99}},
		})
}
