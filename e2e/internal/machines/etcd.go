//go:build linux

package machines

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// etcdPath is the real etcd, which go has built and keeps: this module names it as a tool.
var etcdPath = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-n", "go.etcd.io/etcd/server/v3").Output()
	if err != nil {
		return "", fmt.Errorf("build etcd: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

const (
	clientPort = 2379
	peerPort   = 2380
)

// An Etcd is one etcd of several members, each on a machine of its own, that take clients
// by TLS alone.
type Etcd struct {
	Members []*world.Process // nil where one has not been started yet

	t    testing.TB
	g    *Group
	at   []int
	dirs []string // of each member's files
	pki  string   // where certificate and key are
	ca   *testca.CA
}

// StartEtcd starts a member on each of these machines, with a certificate of ca for all of
// them, and for 127.0.0.1. They have ended at the test's end.
func (g *Group) StartEtcd(t testing.TB, ca *testca.CA, at ...int) *Etcd {
	t.Helper()
	e := &Etcd{Members: make([]*world.Process, len(at)), t: t, g: g, at: at, pki: t.TempDir(), ca: ca}
	hosts := []string{"127.0.0.1"} // for those that come by a Forward
	for _, machine := range at {
		hosts = append(hosts, g.Host(machine))
		e.dirs = append(e.dirs, t.TempDir())
	}
	now := time.Now() // some clients' clocks may be far from right
	ca.Write(e.pki, ca.IssueValid(now.AddDate(-9, 0, 0), now.AddDate(9, 0, 0), hosts...))
	for i := range at {
		e.Start(i)
	}
	return e
}

// Start starts a member, anew where it has ended.
func (e *Etcd) Start(i int) {
	e.t.Helper()
	path, err := etcdPath()
	if err != nil {
		e.t.Fatal(err)
	}
	var all []string
	for j, machine := range e.at {
		all = append(all, fmt.Sprintf("m%d=http://%s", j, e.g.At(machine, peerPort)))
	}
	peer, client := "http://"+e.g.At(e.at[i], peerPort), "https://"+e.g.At(e.at[i], clientPort)
	cmd := exec.Command(path, "--name", fmt.Sprintf("m%d", i), "--data-dir", e.dirs[i],
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client,
		"--initial-cluster", strings.Join(all, ","), "--cert-file", filepath.Join(e.pki, "cert.pem"), "--key-file", filepath.Join(e.pki, "key.pem"),
		// What was written outlives the process, and nobody pulls the plug.
		"--unsafe-no-fsync", "--log-level", "warn")
	cmd.Env = os.Environ()
	e.Members[i] = world.StartCommand(e.t, e.g.Spaces[e.at[i]], cmd)
}

// Endpoints are the addresses for clients, with their scheme.
func (e *Etcd) Endpoints() (list []string) {
	for _, machine := range e.at {
		list = append(list, "https://"+e.g.At(machine, clientPort))
	}
	return list
}

// Forwards are the addresses for clients in the test's own process, which come from a
// machine.
func (e *Etcd) Forwards(from int) (list []string) {
	for _, machine := range e.at {
		list = append(list, "https://"+e.g.Forward(e.t, from, e.g.At(machine, clientPort)))
	}
	return list
}

// Client returns a client on a machine, of that user, or of none where that is empty. It is
// closed at the test's end.
func (e *Etcd) Client(from int, user, password string) *clientv3.Client {
	e.t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: e.Endpoints(), TLS: &tls.Config{RootCAs: e.ca.Pool()}, Username: user, Password: password, DialTimeout: world.Patience, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return e.g.Spaces[from].DialContext(ctx, "tcp", address) // which may go on after Close
		})},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// Await waits until etcd answers.
func (e *Etcd) Await(c *clientv3.Client) {
	e.t.Helper()
	world.Eventually(e.t, world.Patience, "etcd answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "health")
		return err == nil
	})
}
