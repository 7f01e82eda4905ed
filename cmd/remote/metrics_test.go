package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/remote/publish"
	"keystay/remote/watch"
)

var update = flag.Bool("update", false, "write the table of metrics anew")

// measured is a run whose metrics are served.
func measured(t *testing.T) (p *process, url string) {
	t.Helper()
	p, _ = alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn", CT: "off", DrainTimeout: time.Minute})
	p.began, p.names, p.maker = time.Now(), make(map[name]*published), newMaker(p.cfg, p.log)
	p.drain, p.endDrain = context.WithCancel(t.Context())
	f, err := openFigures("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.counted = f
	f.serve(p)
	t.Cleanup(f.close)
	return p, "http://" + f.ln.Addr().String() + "/metrics"
}

// get returns the status and the text of an answer.
func get(t *testing.T, url, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// The metrics say what remote status says, in numbers and without a name.
func TestMetricsSayWhatStatusSays(t *testing.T) {
	p, url := measured(t)
	pub := serves(t, p, "a.relay.test")
	serves(t, p, "b.relay.test")
	p.counted.device.Visitors.Add(7)
	pub.alarm.Store(&watch.Round{Name: "a.relay.test", Time: time.Now(), Results: []watch.Result{{State: watch.Intercepted}}})
	_, page := get(t, url, "")
	for _, want := range []string{
		"keystay_remote_names 2", "keystay_remote_names_up 0", "keystay_remote_names_intercepted 1", "keystay_remote_visitors 0", "keystay_remote_visitors_total 7",
		`keystay_remote_names_outside{state="pending"} 2`, `keystay_remote_names_ct{state="off"} 2`, `keystay_remote_requests_total{class="5xx"} 0`,
		"keystay_remote_stopping 0", `keystay_remote_build_info{go="`, "process_open_fds ", "go_goroutines ",
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if strings.Contains(page, "relay.test") {
		t.Errorf("a name is in the metrics:\n%s", page)
	}
	if strings.Contains(page, "\nkeystay_remote_certificate_expiry_seconds ") {
		t.Error("a certificate that nobody has ends")
	}
	p.endDrain()
	if _, page := get(t, url, ""); !strings.Contains(page, "\nkeystay_remote_stopping 1") {
		t.Errorf("stopping:\n%s", page)
	}
}

// A page in a browser of this machine does not read them by a name of its own.
func TestMetricsAnswerThisMachineAlone(t *testing.T) {
	_, url := measured(t)
	for host, want := range map[string]int{"": 200, "localhost:9441": 200, "[::1]:80": 200, "evil.example": 421, "127.0.0.1.evil.example:9441": 421} {
		if code, body := get(t, url, host); code != want {
			t.Errorf("%q: %d, want %d: %s", host, code, want, body)
		}
	}
	if code, _ := get(t, strings.TrimSuffix(url, "metrics"), ""); code != http.StatusNotFound {
		t.Errorf("elsewhere: %d", code)
	}
}

// A port that is taken ends the start, with what to do.
func TestTakenPortOfMetricsIsSaid(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = openFigures(ln.Addr().String())
	var b strings.Builder
	cli.Print(&b, "remote", err)
	if text := b.String(); !strings.Contains(text, "the metrics: listen") || !strings.Contains(text, "--metrics=PORT") {
		t.Error(text)
	}
	var none *figures
	if f, err := openFigures(""); f != nil || err != nil || none.counts() != nil || none.counted() != nil {
		t.Error("something is counted without metrics")
	}
	none.close()
}

// The guide has each metric with its labels.
func TestGuideHasTheMetrics(t *testing.T) {
	kinds := map[prometheus.ValueType]string{prometheus.GaugeValue: "gauge", prometheus.CounterValue: "counter"}
	rows := make(map[string]string)
	for _, m := range allMetrics {
		by := ""
		if len(m.labels) > 0 {
			by = " by `" + strings.Join(m.labels, "`, `") + "`"
		}
		rows[m.name] = fmt.Sprintf("| `keystay_remote_%s` | %s%s | %s |\n", m.name, kinds[m.kind], by, m.help)
	}
	table := "| metric | kind | meaning |\n| --- | --- | --- |\n"
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		table += rows[name]
	}
	const file, begins, ends = "../../docs/monitoring.md", "<!-- Made from cmd/remote: go test ./cmd/remote -run Guide -update -->\n\n", "\n<!-- End of the remote's -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), begins)
	_, after, ok2 := strings.Cut(rest, ends)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for its table", file)
	}
	want := before + begins + table + ends + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Errorf("%s is stale: go test ./cmd/remote -run Guide -update", file)
	}
}

// Requests count once, at their end, by the class of the answer; two observers are told the
// same, and one of them may not care.
func TestRequestsAreCountedAtTheirEnd(t *testing.T) {
	var c requestCounts
	var seen []publish.Answer
	other := func(r *http.Request) func(publish.Answer) {
		if r.Method == http.MethodHead {
			return nil
		}
		return func(a publish.Answer) { seen = append(seen, a) }
	}
	for _, a := range []publish.Answer{{Status: 101}, {Status: 200}, {Status: 204}, {Status: 302}, {Status: 404}, {Status: 502}, {Cut: true}, {Status: 999}} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			told := observers(c.observer(), other)(&http.Request{Method: method})
			told(a) // the head
			a.Ended = true
			told(a)
			a.Ended = false
		}
	}
	for class, want := range []int64{2, 2, 4, 2, 2, 2} {
		if got := c[class].Load(); got != want {
			t.Errorf("class %d: %d, want %d", class, got, want)
		}
	}
	if len(seen) != 16 {
		t.Errorf("the other is told %d times", len(seen))
	}
	if observers(nil, nil) != nil || observers(nil, other) == nil || observers(other, nil) == nil || (*requestCounts)(nil).observer() != nil {
		t.Error("there is an observer where there is none")
	}
}
