package relay_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

var update = flag.Bool("update", false, "rewrite the table of docs/monitoring.md")

// families returns the metrics by name.
func (r *rig) families() map[string]*dto.MetricFamily {
	r.t.Helper()
	list, err := r.srv.Metrics().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	all := make(map[string]*dto.MetricFamily)
	for _, f := range list {
		all[f.GetName()] = f
	}
	return all
}

// value returns a counter or gauge with labels, given as name=value, or -1 where
// there is none.
func value(all map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range all[name].GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		if slices.Equal(have, labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

// is checks metrics, written as in "keystay_bans{kind=name}". Outside of a bubble it
// waits for them: what a peer has may not be counted yet.
func (r *rig) is(want map[string]float64) {
	r.t.Helper()
	var wrong string
	for start := time.Now(); ; runtime.Gosched() {
		if wrong = r.wrong(want); wrong == "" {
			return
		}
		if r.mem != nil || time.Since(start) > patience {
			r.t.Fatal(wrong)
		}
	}
}

// wrong says what of the metrics is not as it is wanted.
func (r *rig) wrong(want map[string]float64) (wrong string) {
	r.t.Helper()
	all := r.families()
	for what, n := range want {
		name, labels, _ := strings.Cut(strings.TrimSuffix(what, "}"), "{")
		var list []string
		if labels != "" {
			list = strings.Split(labels, ",")
		}
		if got := value(all, name, list...); got != n {
			wrong += fmt.Sprintf("%s is %v, want %v\n", what, got, n)
		}
	}
	return wrong
}

// Bytes are counted by direction and by what carries them, with the hello, while a
// visitor is here and once it has gone; and with metrics by name, by name.
func TestMetricsTellWhatWasCarried(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.NamedMetrics = 1
		s.NodeCounts = func() relay.NodeCounts { return relay.NodeCounts{} }
	})
	id := newIdentity(t)
	d := r.device(id, "a."+zone, "b."+zone)
	v, s := r.onLane(d, "a."+zone)
	hello := float64(len(helloFor(t, "a."+zone)))
	fmt.Fprint(v, "to the device, by a lane")
	if _, err := io.ReadFull(s, make([]byte, 24)); err != nil {
		t.Fatal(err)
	}
	r.is(map[string]float64{
		"keystay_bytes_total{carrier=stream,direction=to_remote}":  hello,
		"keystay_bytes_total{carrier=stream,direction=to_visitor}": 0,
		"keystay_bytes_total{carrier=lane,direction=to_remote}":    24,
		"keystay_bytes_total{carrier=lane,direction=to_visitor}":   9,
		"keystay_visitors_by_carrier{carrier=lane}":                1,
		"keystay_visitors_by_carrier{carrier=stream}":              0,
		"keystay_links_total":                                      1,
	})
	v.CloseWrite()
	if _, err := io.Copy(io.Discard, s); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := io.Copy(io.Discard, v); err != nil {
		t.Error(err)
	}
	d.echo("a")
	r.reaches("b."+zone, "a") // one name more than has room
	r.is(map[string]float64{"keystay_visitors": 0})
	r.is(map[string]float64{
		"keystay_bytes_total{carrier=lane,direction=to_remote}":             24,
		"keystay_bytes_total{carrier=lane,direction=to_visitor}":            9,
		"keystay_bytes_total{carrier=stream,direction=to_remote}":           2*hello + 4,
		"keystay_bytes_total{carrier=stream,direction=to_visitor}":          2 + hello + 4,
		"keystay_visitors_by_carrier{carrier=lane}":                         0,
		"keystay_name_visitors_total{name=a." + zone + "}":                  1,
		"keystay_name_visitors_total{name=other}":                           1,
		"keystay_name_bytes_total{direction=to_remote,name=a." + zone + "}": hello + 24,
		"keystay_name_bytes_total{direction=to_remote,name=other}":          hello + 4,
	})
	first := r.families()["keystay_first_byte_seconds"].GetMetric()[0].GetHistogram()
	if first.GetSampleCount() != 2 || len(first.GetPositiveSpan()) == 0 || len(first.GetBucket()) == 0 {
		t.Errorf("the times to the first byte: %v", first)
	}
	sizes := r.families()["keystay_hello_bytes"].GetMetric()[0].GetHistogram()
	if sizes.GetSampleSum() < 2*hello {
		t.Errorf("the sizes of hellos: %v", sizes)
	}
}

// Whoever is refused is counted once, with the reason.
func TestRefusalsAreCountedByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) {
			s.SetLimits(limits.Config{Exempt: everybody, Name: limits.Owner{ConnsPerSecond: 1}})
		})
		d := r.device(newIdentity(t), "a."+zone).echo("a")
		r.reaches("a."+zone, "a")
		say := func(b string) {
			c := r.dial()
			io.WriteString(c, b)
			c.CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
		r.refused("nobody."+zone, unrecognizedName)
		r.refused("", unrecognizedName)
		r.refused("192.0.2.1", unrecognizedName)
		r.refused("-."+zone, unrecognizedName)
		say("SSH-2.0-x\r\n")
		say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		say(string(helloFor(t, "a."+zone)[:40]))
		say("\x16\x03\x01\x00\x04\x01\x00\x00\x00")
		late := r.dial()
		late.Write(helloFor(t, "a."+zone)[:40])
		time.Sleep(time.Minute)
		late.Close()
		d.Close() // its names stay its own
		synctest.Wait()
		r.refused("a."+zone, internalError)
		if _, err := r.srv.Names.Ban(names.Ban{Kind: names.BanName, Of: "c." + zone}); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"keystay_refused_total": 10, "keystay_bans{kind=name}": 1, "keystay_bans{kind=address}": 0,
			"keystay_holds_total{outcome=timeout}": 1, "keystay_holds": 0}
		for reason, n := range map[string]float64{"no_such_name": 1, "no_name": 2, "bad_name": 1, "not_tls": 1, "plain_http": 1, "hello_cut": 1, "bad_hello": 1, "hello_timeout": 1, "away": 1, "rule": 0} {
			want["keystay_refusals_total{reason="+reason+"}"] = n
		}
		synctest.Wait()
		r.is(want)
		r.close()
		r.srv.Names.Grants.(*names.Grants).Close()
	})
}

// A relay that drains still answers the operator: that it is not ready, and how far it
// is. Its metrics say what state it is in.
func TestDrainingRelayTellsTheOperator(t *testing.T) {
	r := newRig(t, nil)
	s := make(chan *framing.Stream, 1)
	r.device(newIdentity(t), "a."+zone).serve(func(st *framing.Stream) {
		st.Write([]byte("x"))
		s <- st
	})
	v := r.dial()
	v.Write(helloFor(t, "a."+zone))
	if _, err := io.ReadFull(v, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ln := listenTCP(t)
	done, ended := make(chan error, 1), make(chan error, 1)
	go func() { done <- r.srv.ServeAdmin(ln, nil) }()
	tr := &http.Transport{DisableKeepAlives: true}
	get := func(path string) (*http.Response, string) {
		req, _ := http.NewRequest("GET", "http://"+ln.Addr().String()+path, nil)
		return r.do(tr, req)
	}
	if res, _ := get("/readyz"); res.StatusCode != 200 {
		t.Errorf("before: %s", res.Status)
	}
	if res, _ := get("/debug/pprof/"); res.StatusCode != 404 {
		t.Errorf("profiles: %s", res.Status)
	}
	go func() { ended <- r.srv.Shutdown(t.Context()) }()
	r.is(map[string]float64{"keystay_state{state=draining}": 1})
	if res, text := get("/readyz"); res.StatusCode != 503 || !strings.Contains(text, "shutting down") {
		t.Errorf("while it drains: %s %q", res.Status, text)
	}
	_, text := get("/metrics")
	for _, want := range []string{"keystay_ready 0\n", `keystay_state{state="draining"} 1`, "keystay_visitors 1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q while it drains", want)
		}
	}
	(<-s).Close()
	v.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-done; err != relay.ErrServerClosed {
		t.Error(err)
	}
}

// Profiles are shown where they are asked for, to this machine alone.
func TestProfilesAreForThisMachine(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.Profiles = true })
	ln := listenTCP(t)
	done := make(chan error, 1)
	go func() { done <- r.srv.ServeAdmin(ln, nil) }()
	for path, want := range map[string]int{"": 200, "heap?debug=1": 200, "goroutine?debug=1": 200, "cmdline": 404} {
		req, _ := http.NewRequest("GET", "http://"+ln.Addr().String()+"/debug/pprof/"+path, nil)
		if res, _ := r.do(&http.Transport{DisableKeepAlives: true}, req); res.StatusCode != want {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	r.close()
	<-done
}

// The guide has each metric, with its labels and its meaning.
func TestMetricsAreInTheGuide(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.NamedMetrics = 1
		s.NodeCounts = func() relay.NodeCounts { return relay.NodeCounts{} }
	})
	r.device(newIdentity(t), "a."+zone).echo("a")
	r.reaches("a."+zone, "a")
	all := r.families()
	var table strings.Builder
	table.WriteString("| metric | kind | meaning |\n| --- | --- | --- |\n")
	var list []string
	for name := range all {
		if strings.HasPrefix(name, "keystay_") {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	for _, name := range list {
		f := all[name]
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		by := ""
		if len(labels) > 0 {
			by = " by " + strings.Join(labels, ", ")
		}
		fmt.Fprintf(&table, "| `%s` | %s%s | %s |\n", name, strings.ToLower(f.GetType().String()), by, f.GetHelp())
	}
	const file, begins, ends = "../docs/monitoring.md", "<!-- Made from package relay: go test ./relay -run Guide -update -->\n\n", "\n<!-- End of what is made -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), begins)
	_, after, ok2 := strings.Cut(rest, ends)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for its table", file)
	}
	want := before + begins + table.String() + ends + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Errorf("%s is stale: go test ./relay -run Guide -update", file)
	}
}
