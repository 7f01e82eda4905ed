package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"keystay/e2e/internal/world"
)

const monitoring = "../deploy/monitoring"

// A prometheus is one that scrapes a relay and a remote.
type prometheus struct {
	t   *testing.T
	api string
}

// startPrometheus starts one with the configuration of deploy/monitoring, but for the
// two addresses and the intervals.
func startPrometheus(t *testing.T, relay, remote string, args ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"prometheus.yml", "rules.yml", "remote-rules.yml"} {
		b, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("127.0.0.1:9440", relay, "127.0.0.1:9441", remote).Replace(string(b))
		text = regexp.MustCompile(`(?m)^(  \w+_interval:) 15s$`).ReplaceAllString(text, "$1 1s")
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(systemProgram("prometheus"), append(args, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")...)
	p, err := world.Launch(cmd)
	if err != nil {
		t.Fatalf("%v\nhint: apt-get install -y --no-install-recommends prometheus", err)
	}
	t.Cleanup(func() {
		p.Cmd.Process.Kill()
		<-p.Ended()
		if t.Failed() {
			t.Logf("prometheus has written:\n%s", p.All.String())
		}
	})
	listens := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	var addr string
	world.Eventually(t, world.Patience, "prometheus listens", func() (ok bool) {
		addr, ok, _ = p.All.Find(listens)
		return ok || p.HasEnded()
	})
	world.Eventually(t, world.Patience, "prometheus is ready", func() bool {
		res, err := http.Get("http://" + addr + "/-/ready")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	return &prometheus{t, "http://" + addr + "/api/v1/"}
}

// get asks the API, and decodes the data of the answer.
func (p *prometheus) get(path string, data any) error {
	res, err := http.Get(p.api + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(b, &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// finds reports whether a query has a result. One that is wrong fails the test.
func (p *prometheus) finds(query string) bool {
	p.t.Helper()
	var data struct{ Result []any }
	if err := p.get("query?query="+url.QueryEscape(query), &data); err != nil {
		p.t.Errorf("%s\n%v", query, err)
		return true
	}
	return len(data.Result) > 0
}

// comes waits until a query has a result. A scrape that comes too late, as on a busy machine,
// takes it away until the next one.
func (p *prometheus) comes(query string) {
	p.t.Helper()
	world.Eventually(p.t, world.Patience, "a result of "+query, func() bool { return p.finds(query) })
}

// queries returns what the dashboards ask.
func queries(t *testing.T) (list []string) {
	t.Helper()
	for _, file := range []string{"dashboard.json", "remote-dashboard.json"} {
		b, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		in := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				list = append(list, in.Replace(q.Expr))
			}
		}
	}
	return list
}

var metricName = regexp.MustCompile(`\b(?:keystay|process|go)_\w+`)

// A real Prometheus takes the metrics of a relay and of a remote with visitors, with native
// histograms and without; each query of the dashboards finds something, each rule can be
// evaluated, and each metric in one is there.
func TestPrometheusFindsWhatDashboardAndRulesAskFor(t *testing.T) {
	t.Parallel()
	p := startPair(t, "--metrics=127.0.0.1:0")
	p.answers(world.Patience)
	relay, remote := p.relay.Find(`for=admin addr=(\S+)`), p.remote.Find(`for=metrics addr=(\S+)`)
	checkMetrics(t, remote)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for kind, args := range map[string][]string{"classic": nil, "native": {"--enable-feature=native-histograms"}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			prom := startPrometheus(t, relay, remote, args...)
			sizes := map[string]string{"classic": "keystay_hello_bytes_bucket", "native": "histogram_count(keystay_hello_bytes)"}[kind]
			prom.comes(sizes + " > 0")
			for _, q := range queries(t) { // of which some need two scrapes
				prom.comes(q)
			}
			type rule struct{ Name, Query, Health, LastError, State string }
			var data struct{ Groups []struct{ Rules []rule } }
			world.Eventually(t, world.Patience, "the rules are evaluated", func() bool {
				return prom.get("rules", &data) == nil && len(data.Groups) == 2 &&
					!slices.ContainsFunc(slices.Concat(data.Groups[0].Rules, data.Groups[1].Rules), func(r rule) bool { return r.Health == "unknown" })
			})
			rules := slices.Concat(data.Groups[0].Rules, data.Groups[1].Rules)
			for _, r := range rules {
				if r.Health != "ok" {
					t.Errorf("%s: %s", r.Name, r.LastError)
				}
				for _, m := range metricName.FindAllString(r.Query, -1) {
					if kind == "native" {
						m = strings.TrimSuffix(m, "_bucket")
					} else if m == "keystay_first_byte_seconds" {
						m += "_bucket"
					}
					prom.comes(m)
				}
			}
			t.Logf("%d queries, %d rules", len(queries(t)), len(rules))
		})
	}
}

// checkMetrics has promtool look at the metrics of a remote that has been visited, and
// looks whether they say so.
func checkMetrics(t *testing.T, addr string) {
	t.Helper()
	res, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(systemProgram("promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(string(page))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, want := range []string{
		`keystay_remote_requests_total{class="2xx"} [1-9]`, `keystay_remote_visitors_total [1-9]`, `keystay_remote_names_up 1`, `keystay_remote_links_total 2`,
		`keystay_remote_bytes_total{carrier="stream",direction="from_visitor"} [1-9]`, `keystay_remote_bytes_total{carrier="stream",direction="to_visitor"} [1-9]`,
		`keystay_remote_certificate_expiry_seconds [1-9]`, `keystay_remote_links{relay="`,
	} {
		if !regexp.MustCompile(`(?m)^` + want).Match(page) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "xyz.") {
		t.Errorf("the name is in the metrics:\n%s", page)
	}
}

// Each alert comes when it is to, and none of a relay that is well; the rules and the
// configuration are without a fault.
func TestAlertsCome(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "rules.yml", "remote-rules.yml"}, {"test", "rules", "rules_test.yml", "remote-rules_test.yml"}} {
		cmd := exec.Command(systemProgram("promtool"), args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s\nhint: apt-get install -y --no-install-recommends prometheus", strings.Join(args, " "), err, out)
		}
	}
	for _, file := range []string{"rules", "remote-rules"} {
		b, err := os.ReadFile(filepath.Join(monitoring, file+".yml"))
		if err != nil {
			t.Fatal(err)
		}
		tested, err := os.ReadFile(filepath.Join(monitoring, file+"_test.yml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(b), -1) {
			if n := strings.Count(string(tested), "alertname: "+m[1]); n != 2 {
				t.Errorf("%s is tested %d times, not once to come and once not to", m[1], n)
			}
		}
	}
}
