package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/e2e/internal/machines"
	"keystay/e2e/internal/owners"
	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/internal/testca"
)

// The machines of a cluster: three with a node, three with a member of etcd, one at home
// with all devices, one with all visitors.
const (
	nodesOf3   = 3
	etcdAt     = 3
	devicesAt  = 6
	visitorsAt = 7
)

const (
	publicPort = 443
	peersPort  = 9441
	// etcdUser has the relay's keys of etcd and no others.
	etcdUser, etcdPassword = "keystay", "not a secret"
)

// A cluster is one relay of three nodes with an etcd of three members, all of them real
// programs on machines of their own.
type cluster struct {
	t      *testing.T
	g      *machines.Group
	ca     *testca.CA // of the relay, the devices and etcd
	nodeCA *testca.CA // of the nodes
	etcd   *machines.Etcd
	root   *clientv3.Client // etcd's, who may do all
	nodes  [nodesOf3]*machines.Node
	dir    string // of what all share
}

// newCluster starts all, and waits until the nodes know each other.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	if _, err := world.Programs(); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, g: machines.New(t, visitorsAt+1), ca: testca.New(t), nodeCA: testca.New(t), dir: t.TempDir()}
	c.etcd = c.g.StartEtcd(t, c.ca, etcdAt, etcdAt+1, etcdAt+2)
	certificate(c.ca, c.dir, world.Zone, "*."+world.Zone)
	c.file("ca.pem", string(c.ca.PEM()))
	c.file("nodes.pem", string(c.nodeCA.PEM()))
	c.file("password", etcdPassword+"\n")
	c.root = c.etcd.Client(visitorsAt, "", "")
	c.etcd.Await(c.root)
	c.signIn()
	c.file("record.key", strings.Repeat("k", 32))
	for i := range c.nodes {
		c.nodes[i] = c.g.Node(t, i)
		c.nodes[i].Write("relay.yaml", c.yaml(i))
		certificate(c.nodeCA, c.nodes[i].Dir, nodeName(i))
	}
	for _, n := range c.nodes {
		n.Launch()
	}
	for _, n := range c.nodes {
		n.Ready()
	}
	return c
}

// certificate writes one that is good whatever a node's clock says.
func certificate(ca *testca.CA, dir string, names ...string) {
	now := time.Now()
	ca.Write(dir, ca.IssueValid(now.AddDate(-9, 0, 0), now.AddDate(9, 0, 0), names...))
}

// signIn makes etcd ask for passwords, and a user who has the keys of the relay.
func (c *cluster) signIn() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	auth := c.root
	for _, do := range []func() error{
		func() error { _, err := auth.UserAdd(ctx, "root", "all"); return err },
		func() error { _, err := auth.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := auth.UserAdd(ctx, etcdUser, etcdPassword); return err },
		func() error { _, err := auth.RoleAdd(ctx, "relay"); return err },
		func() error {
			_, err := auth.RoleGrantPermission(ctx, "relay", "keystay/", "keystay0", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := auth.UserGrantRole(ctx, etcdUser, "relay"); return err },
		func() error { _, err := auth.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			c.t.Fatal("sign in to etcd: ", err)
		}
	}
	c.root = c.etcd.Client(visitorsAt, "root", "all")
}

// file writes a file that all nodes read.
func (c *cluster) file(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) yaml(i int) string {
	path := func(name string) string { return filepath.Join(c.dir, name) }
	return fmt.Sprintf(`domain: %s
listen: [%q]
http_listen: []
state_dir: state
tls: {cert_file: %q, key_file: %q}
limits: {exempt: ["10.80.0.0/24"]}
cluster:
  etcd: {endpoints: ["%s"], username: %s, password_file: %q, ca_file: %q}
  node: %s
  address: %q
  public: %q
  tls: {ca_file: %q, cert_file: cert.pem, key_file: key.pem}
  record_key_file: %q
`, world.Zone, c.g.At(i, publicPort), path("cert.pem"), path("key.pem"),
		strings.Join(c.etcd.Endpoints(), `", "`), etcdUser, path("password"), path("ca.pem"),
		nodeName(i), c.g.At(i, peersPort), c.g.At(i, publicPort), path("nodes.pem"), path("record.key"))
}

func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

// address is where visitors and remotes reach a node.
func (c *cluster) address(node int) string { return c.g.At(node, publicPort) }

// A served is a device with a name, whose answer says which device it is.
type served struct {
	name, answer string
	*world.Process
}

// serve starts a device that dials these nodes, and waits until it serves a name. What
// visitors get is the name and which device it was.
func (c *cluster) serve(label, which string, nodes ...int) *served {
	c.t.Helper()
	name := label + "." + world.Zone
	s := &served{name: name, answer: name + " of " + which}
	s.Process = c.device(name, "text:"+s.answer, nodes...)
	s.Await("https://" + name)
	return s
}

// device starts a device with a service.
func (c *cluster) device(name, local string, nodes ...int) *world.Process {
	c.t.Helper()
	dir := c.t.TempDir()
	cert, key := c.ca.Files(dir, name)
	args := []string{"--domain", name, "--local", local, "--relay", world.Zone, "--relay-root", filepath.Join(c.dir, "ca.pem"),
		"--state-dir", filepath.Join(dir, "state"), "--cert", cert, "--key", key, "--proxy", "none", "--ct", "off"}
	for _, n := range nodes {
		args = append(args, "--relay-address", c.address(n))
	}
	return world.StartIn(c.t, c.g.Spaces[devicesAt], []string{"HOME=" + dir}, "remote", args...)
}

// site is a site on the devices' machine, and its address there.
func (c *cluster) site() (address string) {
	c.t.Helper()
	var ln net.Listener
	err := c.g.Spaces[devicesAt].Do(func() (err error) {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(serveTakeoverSite)}
	go s.Serve(ln)
	c.t.Cleanup(func() { s.Close() })
	return ln.Addr().String()
}

// visit asks for a name at a node, on a connection of its own, and returns the answer.
func (c *cluster) visit(node int, name string) (string, error) {
	tr := c.transport(node)
	tr.DisableKeepAlives = true
	req, err := http.NewRequest("GET", "https://"+name+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200q", resp.Status, b)
	}
	return strings.TrimSpace(string(b)), err
}

// reaches waits until a name is answered at a node, and returns how long that took. Another
// device's answer is an error at once.
func (c *cluster) reaches(node int, s *served) time.Duration {
	c.t.Helper()
	return c.reachesWhere(node, s, func() bool { return true })
}

// reachesWhere is reaches, and waits no longer once due says that the name is not to be
// answered at the node any more.
func (c *cluster) reachesWhere(node int, s *served, due func() bool) time.Duration {
	c.t.Helper()
	start := time.Now()
	var last error
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%s at node %d: %v", s.name, node, last)
		}
	}()
	world.Eventually(c.t, world.Patience, fmt.Sprintf("%s is answered at node %d", s.name, node), func() bool {
		var answer string
		answer, last = c.visit(node, s.name)
		if last == nil && answer != s.answer {
			c.t.Fatalf("at node %d %s answers %q", node, s.name, answer)
		}
		return last == nil || !due()
	})
	return time.Since(start)
}

// claim has an identity ask a node for a name, on a link of its own that ends then. The
// error says what the answer was where it was not a yes.
func (c *cluster) claim(node int, key ed25519.PrivateKey, name string) (owners.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	l, err := c.link(ctx, node, key)
	if err != nil {
		return owners.Unknown, err
	}
	defer l.Close()
	_, err = l.Claim(ctx, framing.Claim{Name: name})
	var d *framing.Denial
	switch {
	case err == nil:
		return owners.Granted, nil
	case errors.As(err, &d) && d.Code == framing.DeniedTaken:
		return owners.Taken, err
	}
	return owners.Unknown, err
}

// link makes a link to a node, which the caller closes.
func (c *cluster) link(ctx context.Context, node int, key ed25519.PrivateKey) (*framing.Link, error) {
	raw, err := c.g.Dial(devicesAt, c.address(node))
	if err != nil {
		return nil, err
	}
	tc := tls.Client(raw, &tls.Config{ServerName: world.Zone, RootCAs: c.ca.Pool(), NextProtos: []string{framing.Protocol}})
	if err := tc.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	h := framing.Hello{Run: framing.Run{Number: 1}, Agent: "test"}
	state := tc.ConnectionState()
	if err := h.Sign(key, &state, world.Zone); err != nil {
		raw.Close()
		return nil, err
	}
	l, _, err := framing.Client(ctx, tc, h, framing.Handler{})
	return l, err
}
