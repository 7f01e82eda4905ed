package result

// onWAN returns what fits measurements of a test over the link.
func onWAN(test, congestion string, loss float64, flows int) func(*Measurement) bool {
	return func(m *Measurement) bool {
		return m.Test == test && m.Link == "wan" && m.Congestion == congestion && m.Loss == loss && m.Flows == flows
	}
}

// atLeg narrows a picker down to where the delay is.
func atLeg(p picker, where string) picker {
	return picker{func(m *Measurement) bool { return m.Where == where && p.fits(m) }, p.value}
}

func wanTable(all []Measurement, note string) table {
	rows := []row{{"direct", "direct", nil}}
	for _, leg := range []struct{ where, label string }{
		{"relay-remote", "40 ms between relay and remote"},
		{"visitor-relay", "40 ms between visitor and relay"},
		{"both", "20 + 20 ms"},
	} {
		at := func(m *Measurement) bool { return m.Where == leg.where }
		rows = append(rows, row{"session, " + leg.label, "session", at}, row{"lanes, " + leg.label, "lanes", at})
	}
	return grid("Over 40 ms and 500 Mbit/s", "1 MB: ms from dialling to the last byte, each on a fresh connection, one after the other; the first finds a session that has carried nothing yet and was idle for 15 s. Downloads: Mbit/s in all. "+
		"Small requests: p99 in ms on 16 open connections, beside one download without end. "+note,
		"", all, rows, []column{
			{"1 MB, BBR, no loss", picker{onWAN("fetch", "bbr", 0, 1), p50ms}},
			{"the first of them", picker{onWAN("fetch", "bbr", 0, 1), firstms}},
			{"beside 100 quiet visitors", picker{onWAN("beside", "bbr", 0, 100), p50ms}},
			{"1 MB, BBR, 0.1 %", picker{onWAN("fetch", "bbr", 0.1, 1), p50ms}},
			{"1 MB, BBR, 1 %", picker{onWAN("fetch", "bbr", 1, 1), p50ms}},
			{"8 downloads, BBR, no loss", picker{onWAN("down", "bbr", 0, 8), mbps}},
			{"8 downloads, BBR, 1 %", picker{onWAN("down", "bbr", 1, 8), mbps}},
			{"small p99, reno, 0.1 %", picker{onWAN("busy", "reno", 0.1, 16), p99ms}},
		})
}
