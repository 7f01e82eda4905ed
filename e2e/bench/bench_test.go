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

	"keystay/e2e/bench/internal/child"
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
	err := command([]string{"-size", "tiny", "-bin", dir, "-out", file, "-tests", tests + ",home,scale",
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
	for _, name := range []string{"home_keepalive", "home_conn", "home_conn_x25519", "home_down"} {
		expectMeasured(t, all, name, programs)
	}
	expectGrown(t, all)
	if strings.Contains(tables.String(), "NaN") || strings.Contains(tables.String(), "Inf") {
		t.Errorf("tables:\n%s", tables.String())
	}
	var again bytes.Buffer
	if err := command([]string{"-from", file, "-markdown"}, &again, io.Discard); err != nil || !strings.HasPrefix(tables.String(), again.String()) {
		t.Errorf("the tables of the file: %v\n%s", err, again.String()) // without what was skipped
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
		case "home_conn", "home_conn_x25519":
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

// expectGrown checks that each thing was measured at as many sizes as a line
// needs.
func expectGrown(t *testing.T, all []result.Measurement) {
	t.Helper()
	found := make(map[string]map[int]bool)
	for _, m := range all {
		if m.Test != "scale" {
			continue
		}
		what := m.Subject + " " + m.Case
		if found[what] == nil {
			found[what] = make(map[int]bool)
		}
		found[what][m.Size] = true
		if m.Memory <= 0 && m.Spent < 0 { // a clock that lags may tell of nothing
			t.Errorf("%s: %+v", what, m)
		}
	}
	for _, what := range []string{"relay names", "session links", "session visitors", "session connections", "session requests", "session mib", "lanes visitors", "lanes mib"} {
		if len(found[what]) < leastSizes {
			t.Errorf("%s: sizes %v", what, found[what])
		}
	}
}

func TestSizesGrowByTheSameFactor(t *testing.T) {
	for most, want := range map[int][]int{
		40: {10, 16, 25, 40}, 1_000: {10, 46, 215, 1_000}, 10_000: {10, 100, 1_000, 10_000},
		19_500: {10, 125, 1_561, 19_500}, 1_000_000: {10, 100, 1_000, 10_000, 100_000, 1_000_000},
	} {
		if got := sizes(most); !slices.Equal(got, want) {
			t.Errorf("to %d: %v, want %v", most, got, want)
		}
	}
}

func TestTunnelWithoutItsProgramsIsNamed(t *testing.T) {
	folder := t.TempDir()
	os.WriteFile(filepath.Join(folder, "frps"), []byte("#!/bin/sh\n"), 0o700)
	for _, c := range []struct{ folder, want string }{{"", "BENCH_PEERS=DIR"}, {folder, "no program frpc in " + folder}} {
		if err := tunnelNamed("frp").available(c.folder); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("in %q: %v", c.folder, err)
		}
	}
}

func TestTunnelsAreToldWhereTheSiteIs(t *testing.T) {
	setup := tunnelSetup{Config: "CONFIG", Control: "CONTROL", Public: "PUBLIC", Origin: "ORIGIN", Name: "NAME", Cert: "CERT", Key: "KEY"}
	for _, tunnel := range tunnels() {
		told := map[string]string{}
		for side, e := range map[string]tunnelEnd{"server": tunnel.server, "client": tunnel.client} {
			args, config, err := e.fill(setup)
			if err != nil {
				t.Fatalf("%s: %v", e.binary, err)
			}
			told[side] = strings.Join(args, " ") + config
		}
		if !strings.Contains(told["server"], "CONTROL") || !strings.Contains(told["client"], "CONTROL") || !strings.Contains(told["client"], "ORIGIN") {
			t.Errorf("%s: %v", tunnel.name, told)
		}
		if all := told["server"] + told["client"]; !strings.Contains(all, "PUBLIC") || tunnel.behind == "" && !strings.Contains(all, "CERT") {
			t.Errorf("%s: %v", tunnel.name, told)
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

// A visitor of one node of the benchmark gets to the device whose link is at the other.
func TestHopSubjectServes(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{ctx: t.Context(), plan: tiny(), self: self, dir: t.TempDir(), progress: io.Discard, group: child.NewGroup()}
	t.Cleanup(b.group.Close)
	if b.cert, err = newCertificate(b.dir); err != nil {
		t.Fatal(err)
	}
	if b.roots, err = b.cert.pool(); err != nil {
		t.Fatal(err)
	}
	s, err := b.start(hopSession, loopback())
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	if err := visitOnce(s); err != nil {
		t.Error(err)
	}
	if s.second == nil || s.door.Address == s.second.Address {
		t.Error("the visitor has not come to the other node")
	}
}
