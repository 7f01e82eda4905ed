package result

// hops are the ways with one and with two processes between, in the order of the table.
func hops() []row {
	return []row{
		{"HAProxy", "haproxy", nil},
		{"HAProxy → HAProxy", "haproxy-twice", nil},
		{"keystay, session", "session", nil},
		{"keystay, session, one hop", "hop-session", nil},
		{"keystay, lanes", "lanes", nil},
		{"keystay, lanes, one hop", "hop-lanes", nil},
	}
}

// hopTable is about visitors whose remote is at another node.
func hopTable(all []Measurement, note string) table {
	one, eight, conn := on("hop_down", 1), on("hop_down", 8), on("hop_conn", 0)
	few, more := on("hop_keepalive", 1), on("hop_keepalive", 4)
	return grid("One hop, loopback", "A visitor comes to one node, and the device has its link at another. The processor time is that of both processes between. "+
		"Downloads: MB/s and s/GiB; new connections, 8 at once: ms each; small requests on open connections: µs. "+note,
		"", all, hops(), []column{
			{"1 download", picker{one, megabytes}},
			{"8 downloads", picker{eight, megabytes}},
			{"CPU, 1", picker{one, relayCPU}},
			{"CPU, 8", picker{eight, relayCPU}},
			{"connections/s", picker{conn, connPerS}},
			{"CPU each", picker{conn, cpuPerConn}},
			{"1 connection, p50", picker{few, p50}},
			{"p99", picker{few, p99}},
			{"4 connections, p50", picker{more, p50}},
			{"p99 ", picker{more, p99}},
		})
}
