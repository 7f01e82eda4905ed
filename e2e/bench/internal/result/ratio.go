package result

// A ratio is one of keystay's values divided by one of a reference, round by
// round.
type ratio struct {
	label     string
	value     picker
	reference string
	against   picker // of the reference
	goal      string
}

// same is a ratio of the same value.
func same(label string, p picker, reference, goal string) ratio {
	return ratio{label, p, reference, p, goal}
}

// ratios are those that the project has targets for.
func ratios() []ratio {
	bulk := func(flows int, value func(*Measurement) float64) picker { return picker{on("down", flows), value} }
	conn := on("conn", 0)
	all := []ratio{
		same("relay CPU/GiB, 1 download / HAProxy", bulk(1, relayCPU), "haproxy", "lanes ≤ 1.0"),
		same("relay CPU/GiB, 8 downloads / HAProxy", bulk(8, relayCPU), "haproxy", "lanes ≤ 0.55"),
		same("1 download / HAProxy", bulk(1, megabytes), "haproxy", "lanes ≥ 1.0"),
		same("8 downloads / HAProxy", bulk(8, megabytes), "haproxy", "lanes ≥ 1.2"),
		same("8 downloads / direct", bulk(8, megabytes), "direct", "lanes ≥ 0.85"),
		same("relay CPU/GiB, 8 downloads / HAProxy, 1 MiB pipes", bulk(8, relayCPU), "haproxy-pipes", ""),
		same("new connections/s / HAProxy", picker{conn, connPerS}, "haproxy", "≥ 1.0"),
		same("relay CPU per connection / HAProxy", picker{conn, cpuPerConn}, "haproxy", "≤ 1.15"),
		same("keep-alive p50, 1 connection / HAProxy", picker{on("keepalive", 1), p50}, "haproxy", "≤ 1.05"),
		same("keep-alive p99, 1 connection / HAProxy", picker{on("keepalive", 1), p99}, "haproxy", "≤ 1.1"),
		same("keep-alive p50, 4 connections / HAProxy", picker{on("keepalive", 4), p50}, "haproxy", "≤ 1.05"),
		same("keep-alive p99, 4 connections / HAProxy", picker{on("keepalive", 4), p99}, "haproxy", "≤ 1.1"),
		same("small p99 beside a download / HAProxy", picker{on("busy", 1), p99}, "haproxy", "≤ 1.0"),
	}
	fetch := picker{onWAN("fetch", "bbr", 0, 1), p50}
	beside := picker{onWAN("beside", "bbr", 0, 100), p50}
	small := picker{onWAN("busy", "reno", 0.1, 16), p99}
	bulk1 := picker{onWAN("down", "bbr", 1, 8), mbps}
	for _, leg := range []struct{ where, label, goal, first string }{
		{"relay-remote", "40 ms relay–remote", "≤ 0.35", "≤ 0.5"},
		{"visitor-relay", "40 ms visitor–relay", "≤ 1.05", "≤ 1.05"},
		{"both", "20 + 20 ms", "≤ 1.05", "≤ 1.05"},
	} {
		all = append(all,
			ratio{"1 MB, fresh, " + leg.label + " / direct", atLeg(fetch, leg.where), "direct", fetch, leg.goal},
			ratio{"the first of them, after 15 s, " + leg.label + " / direct", atLeg(picker{fetch.fits, first}, leg.where), "direct", fetch, leg.first},
			ratio{"1 MB, fresh, beside 100 quiet, " + leg.label + " / direct", atLeg(beside, leg.where), "direct", fetch, leg.goal},
			ratio{"8 downloads, 1 % loss, " + leg.label + " / direct", atLeg(bulk1, leg.where), "direct", bulk1, ""},
			ratio{"small p99 beside bulk, reno, 0.1 %, " + leg.label + " / direct", atLeg(small, leg.where), "direct", small, "≤ 1.1"})
	}
	return all
}

func ratioTable(all []Measurement) table {
	t := table{title: "Against the targets", note: "Divided round by round; the median of that, and (least–greatest)."}
	for _, r := range ratios() {
		s, l := r.value.ratio(all, "session", r.against, r.reference), r.value.ratio(all, "lanes", r.against, r.reference)
		if s.n > 0 || l.n > 0 {
			t.cells = append(t.cells, []string{r.label, s.String(), l.String(), r.goal})
		}
	}
	if len(t.cells) > 0 {
		t.cells = append([][]string{{"", "session", "lanes", "target"}}, t.cells...)
	}
	return t
}
