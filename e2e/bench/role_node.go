//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"time"

	"keystay/relay"
	"keystay/relay/cluster"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// node is one node of a relay, made of the packages that the program relay is made of,
// with a list of nodes that does not change and a record of names of its own. The
// listener for other nodes is descriptor 3.
func (r *role) node(ended <-chan struct{}) error {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	grants, err := names.OpenGrants(r.Dir)
	if err != nil {
		return err
	}
	defer grants.Close()
	config, err := r.tls()
	if err != nil {
		return err
	}
	creds, err := cluster.LoadCredentials(r.NodeFiles, r.Node)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	srv := &relay.Server{Domain: zone, TLS: &tls.Config{Certificates: config.Certificates}, Names: &names.Names{Grants: grants}, Version: "bench", Logger: logger}
	srv.SetLimits(limits.Config{Exempt: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
	c := &cluster.Cluster{Node: r.Node, Epoch: 1, About: cluster.About{Address: r.Nodes[r.Node], Weight: 100}, Credentials: creds,
		Directory: r.others(), Local: srv, Version: "bench", Logger: logger}
	srv.Nodes, srv.OnPresence, srv.OnCut = c, c.Changed, c.Cut

	peers, err := net.FileListener(os.NewFile(3, "nodes"))
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return err
	}
	served := make(chan error, 2)
	go func() { served <- c.Serve(peers) }()
	go func() { served <- srv.Serve(public) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		return err
	}
	ready(public.Addr().String())
	select {
	case err = <-served:
	case <-ended:
		err = errors.Join(c.Close(), srv.Close())
	}
	return err
}

// others is the list of nodes without this one.
func (r *role) others() fixedList {
	l := fixedList(maps.Clone(r.Nodes))
	delete(l, r.Node)
	return l
}

// A fixedList is a list of nodes that does not change, by their addresses.
type fixedList map[string]string

// Announce implements cluster.Directory.
func (l fixedList) Announce(ctx context.Context, _ string, _ []byte) error {
	<-ctx.Done()
	return nil
}

// Announced implements cluster.Directory.
func (l fixedList) Announced(f func(map[string][]byte)) {
	all := make(map[string][]byte)
	for node, address := range l {
		b, err := json.Marshal(cluster.About{Address: address, Weight: 100})
		if err != nil {
			panic(fmt.Sprint("an announcement: ", err)) // strings and numbers alone
		}
		all[node] = b
	}
	f(all)
}
