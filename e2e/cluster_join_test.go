package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keystay/e2e/internal/etcd"
	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// Two machines become one relay by the commands of the guide: the first makes the CA, and
// invites the second, once. Each shows the other, and goes on when one is taken over.
func TestMachinesBecomeNodes(t *testing.T) {
	t.Parallel()
	bin, err := world.Programs()
	if err != nil {
		t.Fatal(err)
	}
	server := etcd.Start(t, nil)
	ca := testca.New(t)
	configure := func(node string) (file string) {
		dir := t.TempDir()
		cert, key := ca.Files(dir, "relay.test")
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := ln.Addr().String()
		ln.Close()
		file = filepath.Join(dir, "relay.yaml")
		text := fmt.Sprintf(`domain: relay.test
listen: ["127.0.0.1:0"]
http_listen: []
state_dir: state
admin: {listen: ""}
tls: {cert_file: %q, key_file: %q}
cluster: {etcd: {endpoints: [%q]}, node: %s, listen: %q, address: %q}
`, cert, key, server.URL(), node, address, address)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	run := func(in string, code int, args ...string) (out, errs string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "relay"), args...)
		var o, e bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &o, &e
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("relay %q: exit code %d, want %d\n%s%s", args, got, code, o.String(), e.String())
		}
		return o.String(), e.String()
	}
	a, b := configure("a"), configure("b")
	if _, errs := run("", 1, "--config", a); !strings.Contains(errs, "relay cluster init") {
		t.Errorf("a start without a certificate says %s", errs)
	}
	run("", 0, "cluster", "init", "--config", a)
	if _, errs := run("", 3, "cluster", "init", "--config", a); !strings.Contains(errs, "there is a node's certificate already") {
		t.Errorf("a second init says %s", errs)
	}
	first := world.Start(t, nil, "relay", "--config", a)
	first.Await("listening for=api")
	invitation, _ := run("", 0, "cluster", "invite", "--config", a)
	run("nonsense", 2, "cluster", "join", "--config", b, "-")
	run(invitation, 0, "cluster", "join", "--config", b, "-")
	if _, errs := run(invitation, 1, "cluster", "join", "--config", configure("c"), "-"); !strings.Contains(errs, "the invitation is wrong, was used, or its time is over") {
		t.Errorf("a second join says %s", errs)
	}
	second := world.Start(t, nil, "relay", "--config", b)
	second.Await("a node is connected")
	first.Await("a node is connected")
	for _, file := range []string{a, b} {
		if out, _ := run("", 0, "cluster", "status", "--config", file); strings.Count(out, "connected for") != 1 || strings.Count(out, "this node") != 1 {
			t.Errorf("the nodes:\n%s", out)
		}
	}
	if _, errs := run("", 3, "cluster", "invite", "--config", b); !strings.Contains(errs, "not the CA") {
		t.Errorf("an invitation of the second node: %s", errs)
	}
	again := world.Start(t, nil, "relay", "--config", b, "--takeover")
	again.Await("a node is connected")
	second.Await("a new process has taken over")
	first.AwaitTimes(world.Patience, "a node is connected", 2)
	again.Stop()
	first.Await("a node is not connected any more")
}
