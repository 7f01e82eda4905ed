//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keystay/e2e/bench/internal/result"
)

// TestMain lets this program start itself in a role, as the benchmark does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestBench runs the benchmark with the shortest times, and looks at each
// measurement: all are there, and none is empty.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "./cmd/...")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	t.Setenv("TMPDIR", t.TempDir())
	file := filepath.Join(dir, "out.json")
	var tables, progress bytes.Buffer
	tests := "down,up,conn,keepalive,busy,idle_remote,idle_visitor,route"
	err := command([]string{"-size", "tiny", "-bin", dir, "-out", file, "-tests", tests + ",home",
		"-subjects", "direct,tcpproxy,session,lanes", "-markdown"}, &tables, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	all := readStrictly(t, file)
	// One window is short, and the clock of another process lags by a tick or more.
	for _, subject := range []string{"tcpproxy", "session", "lanes", programs} {
		var relay, remote float64
		for _, m := range all {
			if m.Subject == subject {
				relay += m.RelayCPU + m.RelayCPUPerConn + m.RelayCPUEach
				remote += m.RemoteCPU + m.RemoteCPUPerConn + m.RemoteCPUEach
			}
		}
		if relay <= 0 || remote <= 0 {
			t.Errorf("processor time of %s: %v between, %v at the device", subject, relay, remote)
		}
	}
	for _, name := range strings.Split(tests, ",") {
		for _, subject := range []string{"direct", "tcpproxy", "session", "lanes"} {
			expectMeasured(t, all, name, subject)
		}
	}
	for _, name := range []string{"home_keepalive", "home_conn", "home_down"} {
		expectMeasured(t, all, name, programs)
	}
	if strings.Contains(tables.String(), "NaN") || strings.Contains(tables.String(), "Inf") {
		t.Errorf("tables:\n%s", tables.String())
	}
	var again bytes.Buffer
	if err := command([]string{"-from", file, "-markdown"}, &again, io.Discard); err != nil || again.String() != tables.String() {
		t.Errorf("the tables of the file: %v\n%s", err, again.String())
	}
}

// readStrictly reads lines of JSON, with no field that is not known.
func readStrictly(t *testing.T, file string) (all []result.Measurement) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var m result.Measurement
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

// expectMeasured checks what a test has found out about a subject.
func expectMeasured(t *testing.T, all []result.Measurement, test, subject string) {
	t.Helper()
	between := subject != direct // there is a process between
	if test == "idle_remote" || test == "route" {
		if subject != session {
			return
		}
	} else if test == "idle_visitor" && !between {
		return
	}
	found := slices.DeleteFunc(slices.Clone(all), func(m result.Measurement) bool { return m.Test != test || m.Subject != subject })
	if len(found) == 0 {
		t.Errorf("%s of %s: nothing", test, subject)
	}
	for _, m := range found {
		ok := m.Link == "loopback" && m.Round > 0
		switch test {
		case "down", "up":
			ok = ok && m.Flows > 0 && m.Mbps > 1 && (between || m.RelayCPU == 0)
		case "home_keepalive":
			ok = ok && m.Count > 0 && m.P50 > 0 && m.P50 <= m.P99 && m.PerS > 0
		case "home_conn":
			ok = ok && m.ConnPerS > 1
		case "home_down":
			ok = ok && m.Flows > 0 && m.Mbps > 1
		case "conn":
			ok = ok && m.ConnPerS > 1 && (between || m.RelayCPUPerConn == 0)
		case "keepalive", "busy":
			ok = ok && m.Count > 0 && m.P50 > 0 && m.P50 <= m.P99 && m.P99 <= m.P999
		case "idle_remote", "idle_visitor":
			least := 0.9
			if subject == lanes {
				least = 1.9 // each has moved
			}
			ok = ok && m.Each > 0 && m.RSS != 0 && m.FDs >= least
		case "route":
			ok = ok && m.Count > 0 && m.P50 > 0 && m.Names > 0 && m.Case != ""
		}
		if !ok {
			t.Errorf("%s of %s: %+v", test, subject, m)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-size", "huge"}, {"-tests", "speed"}, {"-subjects", "ngrok"}, {"more"}, {"-from", "/nowhere"}} {
		if err := command(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if err := runRole([]string{"server", "{"}); err == nil {
		t.Error("a role without its word was taken")
	}
}
