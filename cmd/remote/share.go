package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/remote"
	"keystay/remote/publish/gate"
)

// shareTime is how long a link lasts where nothing else is said.
const shareTime = 24 * time.Hour

// shareCommand makes a link.
func shareCommand() *cobra.Command {
	var once bool
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "share [NAME[:PORT][/PATH]]",
		Short: "Make a link that opens the gate of a name for a while",
		Long: `Makes a link that lets in whoever opens it, wherever the gate of the name takes
links, and prints it. It is signed with a key of this device: nothing is dialled, and
the remote that serves the name need not run now. With --once the first browser alone
gets in that opens it; such a link is good on this device alone, and not on others
that serve the name too.

The visitor of a link may stay until the link ends. It cannot be taken back before,
but by taking links out of the gate.`,
		Example: `  remote share --for 2h
  remote share --for 2h --once xyz.relay.net
  remote share --for 72h xyz.relay.net/photos/`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Args("the name")(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.LoadShare(c.Flags())
			if err != nil {
				return cli.Usage(err)
			}
			link, strange, err := share(cfg.StateDir, strings.Join(args, ""), lasts, once)
			for _, s := range strange {
				cli.Print(c.ErrOrStderr(), c.Root().Name(), s)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), link)
			return nil
		},
	}
	config.ShareFlags(cmd.Flags())
	cmd.Flags().DurationVar(&lasts, "for", shareTime, "how long the link lasts: `DURATION`, as in 30m or 48h, at most 720h")
	cmd.Flags().BoolVar(&once, "once", false, "let one browser in alone: the first that opens the link")
	return cmd
}

// share makes a link to a name, or to a path of it. Strange is what the owner should
// know of files, with hints.
func share(stateDir, to string, lasts time.Duration, once bool) (link string, strange []error, err error) {
	if lasts <= 0 || lasts > gate.MaxLink {
		return "", nil, cli.Usage(fmt.Errorf("--for: a link lasts more than 0s, and at most %vh", gate.MaxLink.Hours()))
	}
	to = strings.TrimPrefix(to, "https://")
	host, path, _ := strings.Cut(to, "/")
	name, port, _ := strings.Cut(host, ":")
	if name == "" {
		if name, err = remote.OnlyName(stateDir); err != nil {
			if several, ok := errors.AsType[*remote.AmbiguousError](err); ok {
				err = hint.ShareWhichName.Error(errors.New(several.Error()), "NAME", several.Names[0])
			}
			return "", nil, cli.Usage(err)
		}
		if name == "" {
			return "", nil, cli.Usage(hint.ShareNoName.Error(errors.New("no name given, and none was served from " + stateDir)))
		}
	}
	if name, err = hostname.Typed(name); err != nil {
		return "", nil, cli.Usage(hint.ShareNoName.Error(err))
	}
	host = name
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return "", nil, cli.Usage(hint.ShareNoName.Error(fmt.Errorf("%q is no port", port)))
	}
	if port != "" && port != "443" {
		host += ":" + port
	}
	if _, err := os.Stat(stateDir); err != nil { // a link of another device opens nothing
		return "", nil, cli.Usage(hint.ShareNoState.Error(fmt.Errorf("no remote has run from %s", stateDir)))
	}
	store, err := gate.Open(stateDir)
	if err != nil {
		return "", nil, err
	}
	opens, err := store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(lasts), Once: once})
	if err != nil {
		return "", store.Strange(), err
	}
	link = "https://" + host + opens
	if path != "" {
		link += "?to=" + url.QueryEscape("/"+path)
	}
	strange = store.Strange()
	if !remote.WasServed(stateDir, name) {
		strange = append(strange, hint.ShareNoState.Error(fmt.Errorf("%s was not served from %s so far: the link is good for a remote of this folder alone", name, stateDir)))
	}
	return link, strange, nil
}
