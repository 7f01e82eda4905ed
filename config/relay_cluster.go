package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"keystay/internal/placing"
)

// Cluster is a relay that runs on several machines. Without endpoints of etcd it runs on
// one, and nothing else of this counts.
type Cluster struct {
	// Etcd is where the nodes keep whose names are whose, and find each other.
	Etcd Etcd `mapstructure:"etcd"`

	// Node is the name of this node: 1 to 63 lower-case letters, digits, dots and
	// hyphens. It is that of its certificate.
	Node string `mapstructure:"node"`

	// Listen is where other nodes connect, host:port; the default is ":9441".
	Listen string `mapstructure:"listen"`

	// Address is where they reach this node, host:port.
	Address string `mapstructure:"address"`

	// Public is where remotes and their lanes reach this very node, host:port, or empty,
	// the default, where they reach the relay.
	Public string `mapstructure:"public"`

	// Region is where the node stands, of up to 63 bytes, or empty. Remotes prefer nodes
	// that are near by their region.
	Region string `mapstructure:"region"`

	// Weight is the node's share of the links beside the others', 100 by default, up to
	// [MaxWeight]; 0 takes no new ones.
	Weight int `mapstructure:"-"`

	// TLS names the files of the node's certificate, where they are not those that
	// "relay cluster" keeps in StateDir.
	TLS ClusterTLS `mapstructure:"tls"`

	// RecordKeyFile is the file with the key of the record that all nodes share, 32
	// bytes, or empty for that in StateDir.
	RecordKeyFile string `mapstructure:"record_key_file"`
}

// MaxWeight is the most that Cluster.Weight may be.
const MaxWeight = placing.MaxWeight

// Etcd is where a relay of several nodes keeps its record.
type Etcd struct {
	// Endpoints are the members of etcd, http:// or https:// and host:port each; empty,
	// the default, is no cluster.
	Endpoints []string `mapstructure:"endpoints"`

	// Username is the user, or empty where etcd asks for none.
	Username string `mapstructure:"username"`

	// PasswordFile is the file with the user's password, one line.
	PasswordFile string `mapstructure:"password_file"`

	// Password is what PasswordFile holds, without the line's end.
	Password Secret `mapstructure:"-"`

	// CAFile has the roots to trust for etcd, in PEM, or is empty for the system's.
	CAFile string `mapstructure:"ca_file"`

	// CertFile and KeyFile are a certificate to show to etcd, in PEM; both or none.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`

	// Prefix begins all keys; the default is "keystay".
	Prefix string `mapstructure:"prefix"`
}

// ClusterTLS names the files of a node's certificate, in PEM. All are set or none.
type ClusterTLS struct {
	// CAFile has the certificates of the CA of the nodes.
	CAFile string `mapstructure:"ca_file"`

	// CertFile and KeyFile are the node's own, for the name of the node.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
}

// On reports whether the relay runs on several machines.
func (c *Cluster) On() bool { return len(c.Etcd.Endpoints) > 0 }

// clusterKeys are the keys of a relay on several machines.
func clusterKeys() []Key {
	return []Key{
		{Name: "cluster.etcd.endpoints", Kind: List, Help: "the members of an etcd that makes several machines one relay, https:// or http:// and HOST:PORT each; empty is a relay on one machine"},
		{Name: "cluster.etcd.username", Help: "the user to sign in to etcd with; empty where it asks for none, or goes by cert_file"},
		{Name: "cluster.etcd.password_file", Help: "the file with that user's password, one line"},
		{Name: "cluster.etcd.ca_file", Help: "PEM file of roots to trust for etcd; empty is the system's"},
		{Name: "cluster.etcd.cert_file", Help: "PEM file with a certificate to show to etcd; may be empty"},
		{Name: "cluster.etcd.key_file", Help: "PEM file with its private key"},
		{Name: "cluster.etcd.prefix", Default: "keystay", Help: "what begins all keys of this relay in etcd, followed by a slash; two relays never share one"},
		{Name: "cluster.node", Help: "the name of this machine among the nodes, which is that of its certificate, as in fra1"},
		{Name: "cluster.listen", Default: ":9441", Help: "HOST:PORT for the other nodes"},
		{Name: "cluster.address", Help: "HOST:PORT where the other nodes reach this one"},
		{Name: "cluster.public", Help: "HOST:PORT where remotes, and their lanes, reach this very node; empty where they only reach the relay by its name"},
		{Name: "cluster.region", Help: "where the node stands, as in eu-central; remotes prefer nodes of one region; may be empty"},
		{Name: "cluster.weight", Kind: Number, Default: "100", Help: "the node's share of the links beside the others', at most 1000; 0 takes no new ones"},
		{Name: "cluster.tls.ca_file", Help: "PEM file with the CA of the nodes, where it is not the one of relay cluster init and join"},
		{Name: "cluster.tls.cert_file", Help: "PEM file with this node's certificate, for the name cluster.node"},
		{Name: "cluster.tls.key_file", Help: "PEM file with its private key"},
		{Name: "cluster.record_key_file", Help: "the file with the key of the record, 32 bytes that all nodes share; empty is the one of relay cluster init and join"},
	}
}

// cluster checks a relay on several machines.
func (r *relayReader) cluster() {
	c := &r.relay.Cluster
	if c.Etcd.Endpoints = trimmed(c.Etcd.Endpoints); !c.On() {
		return
	}
	r.endpoints()
	if (c.Etcd.Username == "") != (c.Etcd.PasswordFile == "") {
		r.errs.add("cluster.etcd.password_file", "username and password_file go together", "set both, or take both out")
	}
	if (c.Etcd.CertFile == "") != (c.Etcd.KeyFile == "") {
		r.errs.add("cluster.etcd.cert_file", "cert_file and key_file go together", "set both, or take both out")
	}
	if p := strings.Trim(c.Etcd.Prefix, "/"); p == "" || len(p) > 255 || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) {
		r.errs.add("cluster.etcd.prefix", quote(c.Etcd.Prefix)+" begins no keys", `as in "keystay"`)
	}
	switch {
	case c.Node == "":
		r.errs.add("cluster.node", "missing", "a name of this machine among the nodes, as in node: fra1")
	case !placing.IsName(c.Node):
		r.errs.add("cluster.node", quote(c.Node)+" is no name of a node", "1 to 63 lower-case letters, digits, dots and hyphens, as in fra1")
	}
	if c.Address == "" {
		r.errs.add("cluster.address", "missing", `where the other nodes reach this one, as in address: "10.0.0.1:9441"`)
	} else {
		r.errs.address("cluster.address", c.Address, false)
		r.errs.notEverywhere("cluster.address", c.Address)
	}
	if c.Public != "" {
		r.errs.address("cluster.public", c.Public, false)
		r.errs.notEverywhere("cluster.public", c.Public)
	}
	if !placing.IsRegion(c.Region) {
		r.errs.add("cluster.region", quote(c.Region)+" is no region", "up to 63 characters without spaces, as in eu-central")
	}
	if n := len(slices.DeleteFunc([]string{c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile}, func(s string) bool { return s == "" })); n != 0 && n != 3 {
		r.errs.add("cluster.tls", "ca_file, cert_file and key_file go together", "set all three, or none for those of relay cluster init and join")
	}
}

// endpoints checks the addresses of etcd's members.
func (r *relayReader) endpoints() {
	for i, s := range r.relay.Cluster.Etcd.Endpoints {
		key := fmt.Sprintf("cluster.etcd.endpoints[%d]", i)
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			r.errs.add(key, quote(s)+" is no member of etcd", "as in https://10.0.0.1:2379")
		case u.Port() == "":
			r.errs.add(key, quote(s)+" has no port", fmt.Sprintf("did you mean %q?", u.Scheme+"://"+u.Host+":2379"))
		}
	}
}

// notEverywhere refuses an address that stands for all of a machine's own: nobody can
// dial it from elsewhere.
func (e *Errors) notEverywhere(key, address string) {
	host, _, err := net.SplitHostPort(address)
	if ip, notIP := netip.ParseAddr(host); err == nil && notIP == nil && ip.IsUnspecified() {
		e.add(key, quote(address)+" leads nowhere from another machine", `this machine's own, as in "10.0.0.1:9441"`)
	}
}

// clusterFiles makes the paths of a cluster's files ready, and reads the password.
func (r *relayReader) clusterFiles() {
	c := &r.relay.Cluster
	r.errs.count("cluster.weight", &c.Weight, r.src.text("cluster.weight"), MaxWeight)
	if !c.On() {
		return
	}
	for key, file := range map[string]*string{
		"cluster.etcd.ca_file": &c.Etcd.CAFile, "cluster.etcd.cert_file": &c.Etcd.CertFile, "cluster.etcd.key_file": &c.Etcd.KeyFile,
		"cluster.tls.ca_file": &c.TLS.CAFile, "cluster.tls.cert_file": &c.TLS.CertFile, "cluster.tls.key_file": &c.TLS.KeyFile,
		"cluster.record_key_file": &c.RecordKeyFile, "cluster.etcd.password_file": &c.Etcd.PasswordFile,
	} {
		r.src.resolve(key, file)
		r.errs.readable(key, *file)
	}
	for i, s := range c.Etcd.Endpoints {
		if u, err := url.Parse(s); err == nil && u.Scheme == "http" && !isLocalHost(u.Hostname()) {
			r.warnings = append(r.warnings, Warning{Key: fmt.Sprintf("cluster.etcd.endpoints[%d]", i), Message: quote(s) + " is reached without TLS: whoever is on the way sees its password, and can change what it says",
				Hints: []string{"https://, with cluster.etcd.ca_file where its certificate is of a CA of your own"}})
		}
	}
	if c.Etcd.PasswordFile == "" {
		return
	}
	const longest = 1 << 10
	text, public, err := r.errs.wholeFile("cluster.etcd.password_file", c.Etcd.PasswordFile, longest)
	if err != nil {
		return
	}
	c.Etcd.Password = Secret(strings.TrimRight(string(text), "\r\n"))
	if c.Etcd.Password == "" || strings.ContainsAny(string(c.Etcd.Password), "\r\n") {
		r.errs.add("cluster.etcd.password_file", quote(c.Etcd.PasswordFile)+" does not hold one line", "the password alone")
	}
	if public {
		r.warnings = append(r.warnings, openFile("cluster.etcd.password_file", c.Etcd.PasswordFile, "a password"))
	}
}

// isLocalHost reports whether a host is this machine.
func isLocalHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
