package cluster_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"keystay/relay"
	"keystay/relay/cluster"
)

// A relay's server as the node fra1, whose certificate relay cluster init or join has put
// into a folder. A record.Record has the list of the nodes.
func ExampleCluster() {
	join := func(ctx context.Context, srv *relay.Server, list cluster.Directory) error {
		creds, err := cluster.LoadCredentials(cluster.Dir("/var/lib/keystay/cluster").Files(), "fra1")
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", ":9441")
		if err != nil {
			return err
		}
		node := &cluster.Cluster{
			Node:        "fra1",
			Epoch:       uint64(time.Now().Unix()), // each process has a higher one than the one before
			About:       cluster.About{Address: "10.0.0.1:9441", Region: "eu-central", Weight: 100},
			Credentials: creds,
			Directory:   list,
			Local:       srv,
		}
		srv.Nodes, srv.OnPresence, srv.OnCut = node, node.Changed, node.Cut // before it serves
		defer node.Close()
		go func() { log.Print(node.Serve(ln)) }()
		if err := node.Start(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	_ = join
}

// An invitation is one line of text, which is good once.
func ExampleParseInvite() {
	v := &cluster.Invite{Address: "10.0.0.1:9441"} // as Authority.Invite makes it
	again, err := cluster.ParseInvite(v.String())
	fmt.Println(again.Address, err)
	_, err = cluster.ParseInvite("keystay-join-1.")
	fmt.Println(err)
	// Output:
	// 10.0.0.1:9441 <nil>
	// not an invitation, as relay cluster invite prints it
}
