package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// transferTime is how long an import or an export waits for etcd to answer.
const transferTime = 30 * time.Second

// clusterCommand is for a relay that runs on several machines.
func clusterCommand() *cobra.Command {
	return group("cluster", "Several machines as one relay", clusterInitCommand(), clusterInviteCommand(), clusterJoinCommand(), clusterStatusCommand(), importCommand(), exportCommand())
}

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring the record of names of one machine into etcd",
		Long: `FILE is the names.db of a relay that does not run: that of its state directory, or of a
backup. Names, tokens, bans, reserved patterns, what was used of the month, and the slots
at the CA go to the etcd of the configuration. It overwrites nothing: where etcd has a
record with anything in it, nothing is changed. All of it is there at once, or nothing.
FILE stays as it is.

Exit codes: 0 done, 1 etcd or the file has failed, 2 wrong usage or configuration,
3 there is a record already.`,
		Example: `  relay cluster import --config relay.yaml /var/lib/keystay/names.db`,
		Args:    cli.Args("FILE"),
	}
	return asTransfer(c, func(cfg *config.Relay, file string) (map[names.Table]int, error) {
		from, done, err := openCopy(file)
		if err != nil {
			return nil, err
		}
		defer done()
		to, err := openNew(cfg, from)
		if err != nil {
			return nil, err
		}
		defer to.Close()
		counts, err := names.Transfer(from, to)
		if errors.Is(err, names.ErrNotEmpty) {
			err = &cli.Error{Code: cli.ExitRefused, Err: hint.RecordThere.Error(err)}
		}
		return counts, err
	})
}

func exportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export FILE",
		Short: "Write the record of names in etcd to a file",
		Long: `FILE becomes a names.db, as a relay on one machine has it in its state directory: the way
back from several machines, and a backup of the record. It is made while the nodes run,
has mode 0600 and overwrites nothing.

Exit codes: 0 done, 1 etcd or the file has failed, 2 wrong usage or configuration,
3 there is such a file already.`,
		Example: `  relay cluster export --config relay.yaml names.db`,
		Args:    cli.Args("FILE"),
	}
	return asTransfer(c, func(cfg *config.Relay, file string) (map[names.Table]int, error) {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return nil, &cli.Error{Code: cli.ExitRefused, Err: hint.BackupExists.Error(fmt.Errorf("%s is there already", file))}
		}
		from, err := openShared(cfg, transferTime)
		if err != nil {
			return nil, err
		}
		defer from.Close()
		counts, err := exportTo(from, file)
		return counts, ownfile.Explain(err, file)
	})
}

// asTransfer makes a command one that reads the configuration, and brings a record from
// one place to another.
func asTransfer(c *cobra.Command, do func(*config.Relay, string) (map[names.Table]int, error)) *cobra.Command {
	config.RelayFlags(c.Flags())
	asJSON := c.Flags().Bool("json", false, "show the answer as JSON, one object a line")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, _, _, err := config.ReadRelay(c.Flags())
		if err != nil {
			return cli.Usage(err)
		}
		if !cfg.Cluster.On() {
			return cli.Usage(hint.NoEtcd.Error(errors.New("there are no cluster.etcd.endpoints")))
		}
		counts, err := do(cfg, args[0])
		if err != nil {
			return err
		}
		return showTransfer(c.OutOrStdout(), args[0], counts, *asJSON)
	}
	return c
}

// showTransfer says what was brought over.
func showTransfer(out io.Writer, file string, counts map[names.Table]int, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(struct {
			File   string              `json:"file"`
			Tables map[names.Table]int `json:"tables"`
		}{file, counts})
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", b)
		}
		return err
	}
	for _, t := range names.Kept() {
		fmt.Fprintf(out, "%-9s %d\n", t, counts[t])
	}
	return nil
}

// openShared opens the record in etcd, to read it, and waits for it, within some time.
func openShared(cfg *config.Relay, within time.Duration) (*record.Record, error) {
	c, err := etcdOf(cfg, nil)
	if err != nil {
		return nil, err
	}
	c.File, c.NoNew = "", true
	return openReady(c, within)
}

// openNew opens the record in etcd for what another one has, and makes it where there is
// none: with the other's time.
func openNew(cfg *config.Relay, from names.Store) (*record.Record, error) {
	c, err := etcdOf(cfg, nil)
	if err != nil {
		return nil, err
	}
	if err := from.View(func(tx names.Tx) error { c.Time = tx.Now(); return nil }); err != nil {
		return nil, err
	}
	return openReady(c, transferTime)
}

// openReady opens a record and waits for it.
func openReady(c record.Config, within time.Duration) (*record.Record, error) {
	r, err := record.Open(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := r.Ready(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openCopy opens a copy of a names.db, so that the file stays as it is, and nobody else
// has it.
func openCopy(file string) (g *names.Grants, done func(), err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, ownfile.Explain(err, file)
	}
	dir, err := os.MkdirTemp("", "keystay-import")
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (*names.Grants, func(), error) {
		os.RemoveAll(dir)
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordName), b, 0o600); err != nil {
		return fail(err)
	}
	if g, err = names.OpenGrants(dir); err != nil {
		return fail(err)
	}
	return g, func() { g.Close(); os.RemoveAll(dir) }, nil
}
