package result

import "slices"

// homes are the ways to a service at home, in the order of the tables.
func homes() []row {
	return []row{
		{"relay and remote", "programs", nil},
		{"HAProxy, Caddy at home", "caddy", nil},
		{"HAProxy, nginx at home", "nginx", nil},
		{"frp", "frp", nil},
		{"chisel, Caddy at home", "chisel", nil},
	}
}

func remoteCPUEach(m *Measurement) float64    { return m.RemoteCPUEach }
func remoteCPUPerConn(m *Measurement) float64 { return m.RemoteCPUPerConn }

const homeNote = "The two programs; HAProxy (no tunnel) in front of a reverse proxy that ends TLS at home; other tunnels. One HTTP service is behind all. "

// homeRequests is about small requests to whole services: one at a time and many
// at once.
func homeRequests(all []Measurement, note string) table {
	one, many := on("home_keepalive", 1), on("home_keepalive", 16)
	return grid("A web service at home: small requests, loopback", homeNote+
		"On 1 and 16 open connections: µs, requests in a second, and the processor time at home in µs for each. "+note,
		"", all, homes(), []column{
			{"1: p50", picker{one, p50}},
			{"p99", picker{one, p99}},
			{"home CPU each", picker{one, remoteCPUEach}},
			{"16: p50", picker{many, p50}},
			{"p99 ", picker{many, p99}},
			{"requests/s", picker{many, func(m *Measurement) float64 { return m.PerS }}},
			{"home CPU each ", picker{many, remoteCPUEach}},
		})
}

// homeFlows is about new connections and bulk.
func homeFlows(all []Measurement, note string) table {
	conn, one, many := on("home_conn", 0), on("home_down", 1), on("home_down", 8)
	alike := on("home_conn_x25519", 0)
	return grid("A web service at home: connections and downloads, loopback", homeNote+
		"New connections, 8 at once, each with one request: the processor time between and at home in ms for each; then the same with visitors who offer the key exchange X25519 alone. Downloads: MB/s, and the processor time between in s/GiB. "+note,
		"", all, homes(), []column{
			{"connections/s", picker{conn, connPerS}},
			{"relay CPU each", picker{conn, cpuPerConn}},
			{"home CPU each", picker{conn, remoteCPUPerConn}},
			{"X25519: connections/s", picker{alike, connPerS}},
			{"relay CPU each ", picker{alike, cpuPerConn}},
			{"home CPU each ", picker{alike, remoteCPUPerConn}},
			{"1 download", picker{one, megabytes}},
			{"8 downloads", picker{many, megabytes}},
			{"relay CPU, 1", picker{one, relayCPU}},
			{"relay CPU, 8", picker{many, relayCPU}},
		})
}

// homeRatios divides the two programs' values by those of the others.
func homeRatios(all []Measurement) table {
	t := table{title: "A web service at home, against the others", note: "relay and remote divided by each of the others, round by round; the median of that, and (least–greatest)."}
	others := homes()[1:]
	others = slices.DeleteFunc(others, func(o row) bool {
		return !slices.ContainsFunc(all, func(m Measurement) bool { return m.Subject == o.subject })
	})
	head := []string{""}
	for _, o := range others {
		head = append(head, "/ "+o.label)
	}
	for _, m := range homeMeasures() {
		cells, found := []string{m.label}, 0
		for _, o := range others {
			s := m.value.ratio(all, "programs", m.value, o.subject)
			cells, found = append(cells, s.String()), found+s.n
		}
		if found > 0 {
			t.cells = append(t.cells, append(cells, m.goal))
		}
	}
	if len(t.cells) > 0 {
		t.cells = append([][]string{append(head, "target")}, t.cells...)
	}
	return t
}

// homeMeasures are the rows of homeRatios.
func homeMeasures() []ratio {
	one, many, conn := on("home_keepalive", 1), on("home_keepalive", 16), on("home_conn", 0)
	alike := on("home_conn_x25519", 0)
	of := func(label string, fits func(*Measurement) bool, value func(*Measurement) float64, goal string) ratio {
		return same(label, picker{fits, value}, "", goal)
	}
	return []ratio{
		of("small request, 1 connection, p50", one, p50, "Caddy ≤ 0.85, frp ≤ 0.6"),
		of("small request, 1 connection, p99", one, p99, "Caddy ≤ 0.9"),
		of("home CPU a request, 1 connection", one, remoteCPUEach, "Caddy ≤ 0.8"),
		of("small request, 16 connections, p50", many, p50, "Caddy ≤ 0.85, frp ≤ 0.6"),
		of("small request, 16 connections, p99", many, p99, "Caddy ≤ 0.9"),
		of("home CPU a request, 16 connections", many, remoteCPUEach, "Caddy ≤ 0.8"),
		of("new connections/s", conn, connPerS, ""),
		of("relay CPU a connection", conn, cpuPerConn, "≤ 1.15"),
		of("home CPU a connection", conn, remoteCPUPerConn, "Caddy ≤ 1.0"),
		of("new connections/s, X25519 alone", alike, connPerS, ""),
		of("relay CPU a connection, X25519 alone", alike, cpuPerConn, "≤ 1.15"),
		of("home CPU a connection, X25519 alone", alike, remoteCPUPerConn, "Caddy ≤ 1.0"),
		of("1 download, MB/s", on("home_down", 1), megabytes, "Caddy ≥ 1.2"),
		of("8 downloads, MB/s", on("home_down", 8), megabytes, "Caddy ≥ 1.2"),
		of("relay CPU/GiB, 1 download", on("home_down", 1), relayCPU, ""),
		of("relay CPU/GiB, 8 downloads", on("home_down", 8), relayCPU, ""),
	}
}
