package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
)

// loginCommand keeps a token for a relay.
func loginCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "login RELAY",
		Short: "Keep a relay's token on this device",
		Long: `Keeps the token that a relay's operator gave out in the state directory, in a file
that only this user can read. From then on it is what that relay is told, where
no --token or --token-file is given; no other relay ever gets it. The token is
asked for on the terminal, where it is not shown, or is read from standard input
or from --token-file. Nothing is dialled: whether the token is right turns out
with the next claim.`,
		Example: `  remote login relay.net
  remote login relay.net --token-file token.txt
  remote login relay.net --remove`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 { // it may be the token, which is not shown
				return cli.Usage(hint.TokenArgument.Error(errors.New("one argument too many behind the relay")))
			}
			return cli.Args("the relay that the token is for")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, warnings, err := config.LoadLogin(c.Flags(), args[0])
			if err != nil {
				return cli.Usage(err)
			}
			for _, w := range warnings {
				fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", c.Root().Name(), w.Message)
				for _, h := range w.Hints {
					fmt.Fprintf(c.ErrOrStderr(), "hint: %s\n", h)
				}
			}
			relay := cfg.Relays[0]
			if remove {
				return logout(c.OutOrStdout(), cfg.StateDir, relay)
			}
			token := string(cfg.Token)
			if token == "" {
				if token, err = askToken(c.InOrStdin(), c.ErrOrStderr(), relay); err != nil {
					return cli.Usage(fmt.Errorf("the token: %w", err))
				}
			}
			if err := remote.KeepToken(cfg.StateDir, relay, token); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "the token for %s is kept\n", relay)
			return nil
		},
	}
	config.LoginFlags(cmd.Flags())
	cmd.Flags().BoolVar(&remove, "remove", false, "remove what is kept for the relay")
	return cmd
}

func logout(out io.Writer, stateDir, relay string) error {
	was, err := remote.ForgetToken(stateDir, relay)
	switch {
	case err != nil:
		return err
	case was:
		fmt.Fprintf(out, "the token for %s is removed\n", relay)
	default:
		fmt.Fprintf(out, "no token was kept for %s\n", relay)
	}
	return nil
}

// askToken reads a token: from a terminal without showing it, else all of in.
func askToken(in io.Reader, prompt io.Writer, relay string) (string, error) {
	b, err := []byte(nil), error(nil)
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(prompt, "token for %s: ", relay)
		b, err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(prompt)
	} else {
		b, err = io.ReadAll(io.LimitReader(in, 2*config.MaxSecret))
	}
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", hint.NoTokenGiven.Error(config.CheckSecret(token))
	}
	return token, config.CheckSecret(token)
}
