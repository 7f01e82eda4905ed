package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/e2e/internal/owners"
	"keystay/e2e/internal/world"
)

// A falseNode is a machine that has the password of the relay's etcd, and no key of the nodes.
type falseNode struct {
	c     *cluster
	etcd  *clientv3.Client
	dials atomic.Int64 // connections that came to it
	heard atomic.Int64 // of these, those on which a handshake was finished
	tls   *tls.Config
}

// rogue has the rogue do to the list of nodes and to the record what etcd lets it: it gets
// no visitor and no name, and what is up goes on.
func (c *cluster) rogue(all []*served) {
	r := &falseNode{c: c, etcd: c.etcd.Client(visitorsAt, etcdUser, etcdPassword), tls: &tls.Config{Certificates: []tls.Certificate{c.ca.Issue("rogue", nodeName(0), nodeName(1))}, InsecureSkipVerify: true}}
	r.listen()
	visitors := c.stand(all)
	r.joinTheList()
	r.dial()
	c.allReach(all)
	restore := r.forgeTheRecord()
	for node := range c.nodes {
		for _, s := range all {
			if o, err := c.claim(node, newKey(), s.name); o == owners.Granted {
				c.t.Errorf("the rogue's device has %s at node %d: %v", s.name, node, err)
			}
		}
	}
	c.allReach(all)
	c.stillStand(visitors, "rogue")
	if n := r.heard.Load(); n != 0 {
		c.t.Errorf("%d connections of nodes were finished with the rogue", n)
	}
	restore()
}

// listen takes what comes to the rogue, as a node would.
func (r *falseNode) listen() {
	var ln net.Listener
	err := r.c.g.Spaces[visitorsAt].Do(func() (err error) {
		ln, err = net.Listen("tcp", r.c.g.At(visitorsAt, peersPort))
		return err
	})
	if err != nil {
		r.c.t.Fatal(err)
	}
	r.c.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			r.dials.Add(1)
			go func() {
				defer raw.Close()
				raw.SetDeadline(time.Now().Add(world.Patience))
				own := r.tls.Clone()
				own.NextProtos = []string{"keystay-node/1", "keystay-hop/1"}
				tc := tls.Server(raw, own)
				if tc.Handshake() != nil {
					return
				}
				if n, _ := tc.Read(make([]byte, 1)); n > 0 { // a client that does not trust the certificate sends an alert
					r.heard.Add(1)
				}
			}()
		}
	}()
}

// joinTheList puts the rogue into the list of nodes: with what it says of itself, with
// another node's entry under its own name, and with its own address in another's.
func (r *falseNode) joinTheList() {
	r.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	const list = "keystay/nodes/"
	var got *clientv3.GetResponse
	world.Eventually(r.c.t, world.Patience, "the list has all nodes", func() (ok bool) {
		var err error
		got, err = r.etcd.Get(ctx, list, clientv3.WithPrefix())
		return err == nil && len(got.Kvs) == nodesOf3
	})
	its := r.c.g.At(visitorsAt, peersPort)
	for _, kv := range got.Kvs {
		forged := bytes.ReplaceAll(kv.Value, []byte(r.c.g.At(1, peersPort)), []byte(its))
		for _, put := range [][2]string{{list + "rogue", string(forged)}, {list + "rogue2", string(kv.Value)}, {string(kv.Key), string(forged)}} {
			if _, err := r.etcd.Put(ctx, put[0], put[1]); err != nil {
				r.c.t.Fatal(err)
			}
		}
	}
}

// dial connects to each node as another node would.
func (r *falseNode) dial() {
	for node := range r.c.nodes {
		for _, alpn := range []string{"keystay-node/1", "keystay-hop/1"} {
			raw, err := r.c.g.Dial(visitorsAt, r.c.g.At(node, peersPort))
			if err != nil {
				r.c.t.Fatal(err)
			}
			raw.SetDeadline(time.Now().Add(world.Patience))
			own := r.tls.Clone()
			own.NextProtos, own.ServerName = []string{alpn}, nodeName(node)
			tc := tls.Client(raw, own)
			if tc.Handshake() == nil { // the server says no after it
				if n, err := tc.Read(make([]byte, 1)); n > 0 || err == nil {
					r.c.t.Errorf("node %d takes the rogue for a node, by %s", node, alpn)
				}
			}
			raw.Close()
		}
	}
}

// forgeTheRecord gives all names to another identity, and returns what puts them back.
func (r *falseNode) forgeTheRecord() (restore func()) {
	r.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	got, err := r.etcd.Get(ctx, "keystay/record/", clientv3.WithPrefix())
	if err != nil || len(got.Kvs) < 2 {
		r.c.t.Fatalf("the record has %d entries: %v", len(got.Kvs), err)
	}
	for _, kv := range got.Kvs {
		forged := bytes.Clone(kv.Value)
		if at := bytes.Index(forged, []byte(`"key":"`)); at >= 0 {
			at += len(`"key":"`)
			copy(forged[at:], "AAAAAAAA")
		}
		if _, err := r.etcd.Put(ctx, string(kv.Key), string(forged)); err != nil {
			r.c.t.Fatal(err)
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
		defer cancel()
		for _, kv := range got.Kvs {
			if _, err := r.etcd.Put(ctx, string(kv.Key), string(kv.Value)); err != nil {
				r.c.t.Error(err)
			}
		}
	}
}
