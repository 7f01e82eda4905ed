package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay/cluster"
	"keystay/relay/operator"
)

func clusterInitCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this machine the first node of a new cluster",
		Long: `Makes the CA whose certificates the nodes know each other by, the key of the record of
names, and the certificate of cluster.node, in the folder cluster of state_dir. The CA's
key, ca.key, stays on this machine: it invites further machines and renews the nodes'
certificates. Keep a copy of it (relay backup has one). It overwrites nothing.

Run it as the user that the relay runs as.`,
		Example: `  relay cluster init --config relay.yaml`,
		Args:    cli.NoArgs(),
	}
	return asNode(c, func(c *cobra.Command, cfg *config.Relay, _ []string) error {
		dir := nodeDir(cfg)
		if err := dir.Init(cfg.Cluster.Node); err != nil {
			return notNode(cfg, err)
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s is the first node; its files are in %s\n", cfg.Cluster.Node, dir)
		return err
	})
}

// maxInvitation is how long an invitation on standard input may be, in bytes.
const maxInvitation = 1 << 10

// joinTime is how long it may take to become a node.
const joinTime = 30 * time.Second

func clusterJoinCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "join INVITATION",
		Short: "Make this machine a further node of a cluster",
		Long: `INVITATION is what relay cluster invite has printed on the first node; - reads it from
standard input, where other users do not see it. It leads to that node, and says by which
certificate that is known. This machine gets a certificate for cluster.node, and the key
of the record of names, in the folder cluster of state_dir. It overwrites nothing.

Run it as the user that the relay runs as.`,
		Example: `  ssh first relay cluster invite --config relay.yaml | relay cluster join --config relay.yaml -`,
		Args:    cli.Args("INVITATION"),
	}
	return asNode(c, func(c *cobra.Command, cfg *config.Relay, args []string) error {
		text := args[0]
		if text == "-" {
			b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), maxInvitation))
			if err != nil {
				return err
			}
			text, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
		}
		v, err := cluster.ParseInvite(text)
		if err != nil {
			return cli.Usage(hint.NoInvitation.Error(err))
		}
		ctx, cancel := context.WithTimeout(c.Context(), joinTime)
		defer cancel()
		dir := nodeDir(cfg)
		if err := dir.Join(ctx, v, cfg.Cluster.Node); err != nil {
			return notNode(cfg, hint.NotJoined.After(err, "ADDRESS", v.Address))
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is a node; its files are in %s\n", cfg.Cluster.Node, dir)
		return err
	})
}

// asNode makes a command one that makes this machine a node.
func asNode(c *cobra.Command, do func(*cobra.Command, *config.Relay, []string) error) *cobra.Command {
	c.Long += "\n\nExit codes: 0 done, 1 it has failed, 2 wrong usage or configuration, 3 this machine is a\nnode already."
	config.RelayFlags(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, _, _, err := config.ReadRelay(c.Flags())
		if err != nil {
			return cli.Usage(err)
		}
		if !cfg.Cluster.On() {
			return cli.Usage(hint.NoEtcd.Error(errors.New("there are no cluster.etcd.endpoints")))
		}
		if info, err := os.Stat(cfg.StateDir); err == nil {
			if uid, ok := ownfile.Owner(info); ok && os.Geteuid() == 0 && uid != 0 {
				return cli.Usage(hint.NodeAsUser.Error(fmt.Errorf("%s is another user's, who could not read what root writes there", cfg.StateDir), "UID", strconv.Itoa(uid)))
			}
		}
		return do(c, cfg, args)
	}
	return c
}

// notNode explains why this machine has not become a node.
func notNode(cfg *config.Relay, err error) error {
	if errors.Is(err, cluster.ErrIsNode) {
		return &cli.Error{Code: cli.ExitRefused, Err: hint.IsNode.Error(err)}
	}
	return stateError(cfg.StateDir, err)
}

func clusterInviteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "invite",
		Short: "Print an invitation with which one more machine becomes a node",
		Long: `The invitation is a secret. It counts for an hour, and once, at the node that has made it:
whoever has it can become a node, and have the visitors of every name.`,
		Example: `  relay cluster invite --config relay.yaml
  relay cluster invite --json | jq -r .invitation`,
	}
	why := reason(c)
	return asLever(c, func(l *lever) error {
		var v operator.Invitation
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/nodes/invite", operator.Invite{Reason: *why}, &v); err != nil {
			return err
		}
		return l.show(v, func(w io.Writer) {
			fmt.Fprintln(w, v.Invitation)
			fmt.Fprintf(l.ErrOrStderr(), "until %s, once: relay cluster join --config relay.yaml - on the other machine reads it\n", clockTime(v.Until))
		})
	})
}

func clusterStatusCommand() *cobra.Command {
	return asLever(&cobra.Command{
		Use:   "status",
		Short: "Show the nodes of the relay, as this one sees them",
		Example: `  relay cluster status --config relay.yaml
  relay cluster status --json | jq -r 'select(.connected | not) | .node'`,
	}, func(l *lever) error {
		var a operator.Nodes
		if err := l.client.Get(l.Context(), "/v1/nodes", nil, &a); err != nil {
			return err
		}
		t := table{{"NODE", "STATE", "NAMES", "LINKS", "VISITORS", "LOAD", "WEIGHT", "REGION", "RTT", "ADDRESS", "VERSION"}}
		for _, n := range a.Nodes {
			rtt := ""
			if n.RTT > 0 {
				rtt = fmt.Sprintf("%.1f ms", n.RTT)
			}
			t.add(n.Node, nodeState(n), strconv.Itoa(n.Names), strconv.Itoa(n.Links), strconv.Itoa(n.Visitors), fmt.Sprintf("%.0f%%", float64(n.Load)/10),
				strconv.Itoa(n.Weight), n.Region, rtt, n.Address, n.Version)
		}
		return showRows(l, t, a.Nodes)
	})
}

// nodeState says how it is with a node.
func nodeState(n operator.Node) string {
	switch {
	case n.Self && n.Why != "":
		return "this node, and none of them: " + n.Why
	case n.Self:
		state := "this node"
		if n.CertificateUntil != nil {
			state += ", certificate until " + n.CertificateUntil.Format(time.DateOnly)
		}
		return state
	case !n.Connected && n.Why != "":
		return "not connected: " + n.Why
	case !n.Connected:
		return "not connected"
	case n.Leaves:
		return "stops"
	case !n.Listed:
		return "connected, and not in the list"
	}
	return "connected for " + ago(*n.Since)
}
