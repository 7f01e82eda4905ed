package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/relay/cluster"
)

// certificateSoon is how long before its end relay check finds a node's certificate wrong:
// it should have been renewed two months before.
const certificateSoon = 30 * 24 * time.Hour

// nodes looks at what makes this machine one of several.
func (c *checker) nodes() []cli.Finding {
	const step = "nodes"
	if !c.cfg.Cluster.On() {
		return nil
	}
	about := c.cfg.Cluster.Node
	creds, err := cluster.LoadCredentials(nodeFiles(c.cfg), about)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []cli.Finding{cli.Amiss(step, about, hint.NoNode.Error(fmt.Errorf("this machine has no node's certificate yet: %w", err)))}
	case err != nil:
		return []cli.Finding{cli.Amiss(step, about, err)}
	}
	var list []cli.Finding
	switch left := time.Until(creds.Ends()); {
	case left < certificateSoon:
		list = append(list, cli.Amiss(step, about, hint.NodeCertificate.Error(fmt.Errorf("this node's certificate ends at %s", clockTime(creds.Ends())))))
	default:
		list = append(list, cli.Fine(step, about, "this node's certificate counts until %s, and is renewed before", day(creds.Ends())))
	}
	if c.running == nil {
		return append(list, cli.NotRun(step, "others", "a relay that runs says which it is connected with"))
	}
	switch n, all := c.running.NodesConnected, c.running.NodesListed; {
	case c.running.Node == "":
		return append(list, cli.Note(step, "others", hint.NotLive.Error(errors.New("the relay that runs is on one machine"))))
	case n < all:
		return append(list, cli.Amiss(step, "others", hint.NodesApart.Error(fmt.Errorf("%d of the %d other nodes in the list are connected", n, all))))
	case all == 0:
		return append(list, cli.Note(step, "others", errors.New("there is no other node in the list")))
	default:
		return append(list, cli.Fine(step, "others", "all %d other nodes are connected", all))
	}
}
