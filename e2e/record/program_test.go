package record_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keystay/e2e/internal/etcd"
	"keystay/relay/names"
)

// The program brings a record into etcd and back, says what it has done, and overwrites
// nothing.
func TestProgramImportsAndExports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	program := in("relay")
	build := exec.Command("go", "build", "-o", program, "./cmd/relay")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := etcd.Start(t, nil)
	if err := os.MkdirAll(in("state/cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("relay.yaml", fmt.Sprintf("domain: %s\nstate_dir: state\ncluster: {etcd: {endpoints: [%q]}, node: a, address: \"127.0.0.1:9441\"}\n", zone, s.URL()))
	write("alone.yaml", "domain: "+zone+"\nstate_dir: state\n")
	run := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, append([]string{"cluster"}, args...)...)
		cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir}
		out, err := cmd.CombinedOutput()
		got := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != code {
			t.Errorf("%q: exit code %d, want %d: %s", args, got, code, out)
		}
		return string(out)
	}
	says := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%q is not said: %s", w, out)
			}
		}
	}

	old, err := names.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := &names.Names{Grants: old}
	n.Begin(zone)
	fill(t, n, 5)
	want := entries(t, old)
	old.Close()
	before, err := os.ReadFile(in("names.db"))
	if err != nil {
		t.Fatal(err)
	}

	says(run(2, "import", "--config", in("alone.yaml"), in("names.db")), "there are no cluster.etcd.endpoints")
	says(run(1, "import", "--config", in("relay.yaml"), in("names.db")), "the key of the record of names", "relay cluster init")
	write("state/cluster/record.key", strings.Repeat("k", 32))
	says(run(1, "export", "--config", in("relay.yaml"), in("copy.db")), "there is none in etcd yet")
	says(run(1, "import", "--config", in("relay.yaml"), in("relay.yaml")), "damaged")
	says(run(1, "import", "--config", in("relay.yaml"), in("none.db")), "none.db")
	says(run(0, "import", "--config", in("relay.yaml"), in("names.db")), "grants    5\n", "tokens    1\n", "bans      1\n")
	says(run(3, "import", "--config", in("relay.yaml"), in("names.db")), "there is a record with something in it already", "cluster.etcd.prefix")
	if after, err := os.ReadFile(in("names.db")); err != nil || string(after) != string(before) {
		t.Error("the file is not as it was")
	}
	says(run(0, "export", "--config", in("relay.yaml"), "--json", in("copy.db")), `"tables":{`, `"grants":5`)
	says(run(3, "export", "--config", in("relay.yaml"), in("copy.db")), "is there already")
	info, err := os.Stat(in("copy.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Mkdir(in("back"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(in("copy.db"), in("back/names.db")); err != nil {
		t.Fatal(err)
	}
	back, err := names.OpenGrants(in("back"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got := entries(t, back); !maps.Equal(got, want) {
		t.Errorf("%d entries came back, want %d", len(got), len(want))
	}
	left, err := filepath.Glob(in("*names*"))
	hidden, _ := filepath.Glob(in(".names*"))
	temporary, _ := filepath.Glob(in("keystay-import*"))
	if err != nil || len(left) != 1 || len(hidden)+len(temporary) > 0 {
		t.Errorf("left behind: %q %q %q", left, hidden, temporary)
	}
}
