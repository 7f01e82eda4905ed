package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/config"
	"keystay/framing"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay"
	"keystay/relay/cluster"
	"keystay/relay/operator"
)

// A node is this process as one of the machines that are the relay together.
type node struct {
	*cluster.Cluster
	srv     *relay.Server
	domain  string
	address string // where other nodes reach this one
}

// nodeDir is where this machine keeps what it needs to be a node.
func nodeDir(cfg *config.Relay) cluster.Dir {
	return cluster.Dir(filepath.Join(cfg.StateDir, clusterDir))
}

// nodeFiles are the node's certificate: brought, or of relay cluster init and join.
func nodeFiles(cfg *config.Relay) cluster.Files {
	if t := cfg.Cluster.TLS; t != (config.ClusterTLS{}) {
		return cluster.Files{CA: t.CAFile, Cert: t.CertFile, Key: t.KeyFile}
	}
	return nodeDir(cfg).Files()
}

// openNode makes the node that a configuration says, or nothing for a relay on one
// machine. It is set to work with its server by serveNode.
func openNode(cfg *config.Relay, directory cluster.Directory, log *slog.Logger) (*node, error) {
	if !cfg.Cluster.On() {
		return nil, nil
	}
	dir, files := nodeDir(cfg), nodeFiles(cfg)
	creds, err := cluster.LoadCredentials(files, cfg.Cluster.Node)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, cli.Usage(hint.NoNode.Error(fmt.Errorf("this machine has no node's certificate yet: %w", err)))
	case err != nil:
		return nil, cli.Usage(ownfile.Explain(fmt.Errorf("the node's certificate: %w", err), files.Key))
	}
	authority, err := dir.Authority()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the CA of the nodes: %w", err)
	}
	epoch, err := nextEpoch(filepath.Join(string(dir), "epoch"))
	if err != nil {
		return nil, err
	}
	return &node{domain: cfg.Domain, address: cfg.Cluster.Address, Cluster: &cluster.Cluster{
		Node: cfg.Cluster.Node, Epoch: epoch, About: aboutNode(cfg), Credentials: creds, Authority: authority,
		Directory: directory, Version: cli.Version(), Logger: log,
	}}, nil
}

// aboutNode is what the list of nodes says of this one.
func aboutNode(cfg *config.Relay) cluster.About {
	c := cfg.Cluster
	return cluster.About{Address: c.Address, Public: c.Public, Region: c.Region, Weight: c.Weight}
}

// nextEpoch returns the number of this process among those of the node, and keeps it.
func nextEpoch(file string) (uint64, error) {
	b, err := ownfile.Read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	last, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // 0 where the file is broken: see below
	// A clock that is ahead of what was counted makes up for a file that was lost.
	next := max(last+1, uint64(time.Now().Unix()))
	if err := ownfile.MkdirAll(filepath.Dir(file)); err != nil {
		return 0, err
	}
	return next, ownfile.Write(file, []byte(strconv.FormatUint(next, 10)+"\n"))
}

// nodeSocket is what the socket for other nodes is for.
const nodeSocket = "nodes"

// start puts the node into the list of nodes, and connects it with the others.
func (n *node) start() error {
	err := n.Start(context.Background())
	if errors.Is(err, cluster.ErrNodeTaken) {
		return hint.NodeTaken.Error(err)
	}
	return err
}

// close ends what the node has with others. It may be nil, and closed already.
func (n *node) close() {
	if n != nil {
		n.Close()
	}
}

// serve takes connections of other nodes. It returns nil once the node is closed.
func (n *node) serve(ln net.Listener) error {
	if err := n.Serve(ln); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve the nodes at %s: %w", ln.Addr(), err)
	}
	return nil
}

// attach lets the server know the other nodes, and them the server. It is called before
// either serves.
func (n *node) attach(srv *relay.Server, t *takeover) {
	n.srv, n.Local = srv, nodeServer{srv, t}
	n.OnNodes = n.tellRemotes
	n.Load = func() cluster.Load {
		st := srv.Status()
		return cluster.Load{Links: st.Links, Visitors: st.Visitors, Permille: srv.Load(), Leaves: st.Stopping}
	}
	srv.Nodes, srv.OnPresence = n.Cluster, n.Changed
	before := srv.OnCut
	srv.OnCut = func(c relay.Cut) {
		if before != nil {
			before(c)
		}
		n.Cut(c)
	}
	srv.NodeCounts = n.counts
}

// A nodeServer is the server as other nodes have it: the old process, which may still
// have visitors of the names that it has served, hears of their claims as well.
type nodeServer struct {
	*relay.Server
	old *takeover // nil where there is none
}

// ClaimedOnNode is that of the server.
func (s nodeServer) ClaimedOnNode(c relay.Claimed) bool {
	if s.old != nil && s.old.had(c.Name) {
		s.old.claimed(c)
	}
	return s.Server.ClaimedOnNode(c)
}

// tellRemotes tells the remotes of the nodes that this one is connected with.
func (n *node) tellRemotes(all []cluster.Node) {
	region := ""
	for _, o := range all {
		if o.Self {
			region = o.Region
		}
	}
	near := func(o cluster.Node) int {
		switch {
		case o.Self:
			return 0
		case o.Region == region:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b cluster.Node) int { return cmp.Compare(near(a), near(b)) })
	told := framing.Nodes{Own: n.Node}
	for _, o := range all {
		if !o.Connected || len(told.List) == framing.MaxNodes {
			continue
		}
		one := framing.Node{Name: o.Name, Address: cmp.Or(o.Public, n.relayAddress()), Region: o.Region, Weight: uint16(o.Weight), Load: o.Permille}
		if o.Leaves {
			one.Weight = 0
		}
		told.List = append(told.List, one)
	}
	_ = n.srv.SetNodes(told) // each field is checked already
}

// relayAddress is where the relay is reached by its name.
func (n *node) relayAddress() string {
	return net.JoinHostPort(n.domain, strconv.Itoa(n.srv.PublicPort))
}

// counts are for the metrics.
func (n *node) counts() relay.NodeCounts {
	c := relay.NodeCounts{CertificateEnds: n.Credentials.Ends()}
	for _, o := range n.Cluster.Nodes() {
		if !o.Self && o.Listed {
			c.Listed++
		}
		if !o.Self && o.Connected {
			c.Connected++
			c.Names += o.Names
		}
	}
	c.Said, c.Heard, c.Lost, c.Refused = n.Counts()
	return c
}

// Nodes is what the operator is told of the nodes.
func (n *node) Nodes() (list []operator.Node) {
	for _, o := range n.Cluster.Nodes() {
		one := operator.Node{Node: o.Name, Self: o.Self, Connected: o.Connected, Why: o.Why, Leaves: o.Leaves, Listed: o.Listed,
			Address: o.Address, Public: o.Public, Region: o.Region, Weight: o.Weight, Version: o.Version,
			RTT: float64(o.RTT.Microseconds()) / 1000, Names: o.Names, Links: o.Links, Visitors: o.Visitors, Load: int(o.Permille)}
		if !o.Since.IsZero() {
			since := o.Since.UTC().Truncate(time.Second)
			one.Since = &since
		}
		if o.Self {
			until := n.Credentials.Ends().UTC()
			one.CertificateUntil = &until
		}
		list = append(list, one)
	}
	return list
}

// Invite makes an invitation for one more machine.
func (n *node) Invite() (operator.Invitation, error) {
	if n.Authority == nil {
		return operator.Invitation{}, errors.New("this node is not the CA of the nodes: it has no ca.key")
	}
	v, err := n.Authority.Invite(n.address)
	if err != nil {
		return operator.Invitation{}, err
	}
	return operator.Invitation{Invitation: v.String(), Until: v.Until}, nil
}

// addStatus adds what a status says of the nodes.
func (n *node) addStatus(st *operator.Status) {
	st.Node = n.Node
	c := n.counts()
	st.NodesConnected, st.NodesListed = c.Connected, c.Listed
}
