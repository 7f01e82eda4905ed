package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/remote"
)

// identityCommand is about the device's key.
func identityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "Show the device's key, move it to another machine, or change it",
		Long: `The identity is the device's key, which the names belong to. It is in the state
directory, and no relay ever has it.`,
		Example: `  remote identity show
  remote identity export device.age
  remote identity import device.age
  remote identity rotate`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(identityShowCommand(), identityExportCommand(), identityImportCommand(), identityRotateCommand())
	return cmd
}

// loadIdentity reads the configuration of one of the commands, and tells warnings.
func loadIdentity(c *cobra.Command, passphrase bool) (*config.Identity, error) {
	cfg, warnings, err := config.LoadIdentity(c.Flags(), passphrase)
	if err != nil {
		return nil, cli.Usage(err)
	}
	for _, w := range warnings {
		caution(c.ErrOrStderr(), c.Root().Name(), w.Message, w.Hints)
	}
	return cfg, nil
}

// caution writes a message with its hints.
func caution(w io.Writer, program, message string, hints []string) {
	fmt.Fprintf(w, "%s: %s\n", program, message)
	for _, h := range hints {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
}

// identityError gives what package remote returned its exit code and hints.
func identityError(err error) error {
	var ends *remote.KeyNamesError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, remote.ErrNoIdentity):
		return cli.Usage(hint.NoIdentityHere.Error(err))
	case errors.As(err, &ends), errors.Is(err, remote.ErrImport):
		return cli.Usage(err)
	}
	return err
}

func identityShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the key, the names that are served with it, and what it has handed over",
		Long: `Shows the label that is made from the device's key, the public key, the names that
were served from the state directory, by which relays, and which relays have yet to
hear of a new key. Nothing is dialled and nothing is changed.`,
		Example: `  remote identity show
  remote identity show --json --state-dir ./state`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadIdentity(c, false)
			if err != nil {
				return err
			}
			info, err := remote.ShowIdentity(cfg.StateDir)
			if err != nil {
				return identityError(err)
			}
			if asJSON {
				return cli.WriteJSON(c.OutOrStdout(), info)
			}
			showIdentity(c.OutOrStdout(), info)
			return nil
		},
	}
	config.IdentityFlags(cmd.Flags(), false)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// showIdentity writes what a person reads.
func showIdentity(w io.Writer, info remote.IdentityInfo) {
	fmt.Fprintf(w, "identity   %s\npublic key %s\nstate      %s\nlast run   %d\n", info.Label, info.PublicKey, info.StateDir, info.Run)
	for _, n := range info.Names {
		note := ""
		if n.FromKey {
			note = ", made from the key"
		}
		fmt.Fprintf(w, "name       %s by %s%s\n", n.Name, strings.Join(n.Relays, " and "), note)
	}
	for _, h := range info.Handovers {
		for _, r := range h.Relays {
			fmt.Fprintf(w, "hand-over  %s has not heard yet of the key that came after %s", r.Relay, h.Label)
			if len(r.Names) > 0 {
				fmt.Fprintf(w, ", for %s", strings.Join(r.Names, ", "))
			}
			fmt.Fprintln(w)
		}
	}
}

func identityExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write the identity and what belongs to it into a file that a passphrase encrypts",
		Long: `Writes the key, with how the names were served, tokens, ACME accounts, certificates
and the key of the gates, into a new file. Another machine that imports it serves the
names at once. Whoever has the file and the passphrase has the names: keep them apart.
The file is in age's format: age -d opens it, too, and shows a tar archive.
The passphrase is asked for twice on the terminal, or is read from --passphrase-file or
the variable KEYSTAY_REMOTE_PASSPHRASE. It has at least 8 bytes.`,
		Example: `  remote identity export device.age
  remote identity export device.age --passphrase-file passphrase.txt`,
		Args: cli.Args("the file to write"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadIdentity(c, true)
			if err != nil {
				return err
			}
			if _, err := remote.ShowIdentity(cfg.StateDir); err != nil {
				return identityError(err) // before anybody is asked for a passphrase
			}
			if _, err := os.Lstat(args[0]); !errors.Is(err, fs.ErrNotExist) {
				return cli.Usage(hint.ExportExists.Error(fmt.Errorf("%s is there already: nothing was exported", args[0])))
			}
			passphrase, err := passphraseOf(c, cfg, true)
			if err != nil {
				return err
			}
			if err := writeExport(args[0], cfg.StateDir, passphrase); err != nil {
				return identityError(err)
			}
			fmt.Fprintf(c.OutOrStdout(), "the identity is exported to %s\n", args[0])
			return nil
		},
	}
	config.IdentityFlags(cmd.Flags(), true)
	return cmd
}

// writeExport exports into a new file.
func writeExport(file, stateDir, passphrase string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the export: %w", ownfile.Explain(err, file))
	}
	err = remote.ExportIdentity(stateDir, f, passphrase)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(file)
	}
	return ownfile.Explain(err, file)
}

func identityImportCommand() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take up an identity that another machine has exported",
		Long: `Reads a file of remote identity export into the state directory: all of it or
nothing. The next start of remote here takes the names over from the machine that
the file comes from, whose run then ends with exit code 5, while its visitors are
served to their end. An identity that is there already is not overwritten; with
--replace it is put aside into a folder of the state directory.`,
		Example: `  remote identity import device.age
  remote identity import device.age --replace --state-dir ./state`,
		Args: cli.Args("the file to read"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadIdentity(c, true)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return cli.Usage(fmt.Errorf("read the export: %w", ownfile.ExplainNamed(err, args[0])))
			}
			defer f.Close()
			passphrase, err := passphraseOf(c, cfg, false)
			if err != nil {
				return err
			}
			info, aside, err := remote.ImportIdentity(cfg.StateDir, f, passphrase, replace)
			if err != nil {
				return identityError(fmt.Errorf("%s: %w", args[0], err))
			}
			if aside != "" {
				fmt.Fprintf(c.OutOrStdout(), "what was there is kept in %s\n", aside)
			}
			fmt.Fprintf(c.OutOrStdout(), "the identity %s is imported, with %d names\n", info.Label, len(info.Names))
			return nil
		},
	}
	config.IdentityFlags(cmd.Flags(), true)
	cmd.Flags().BoolVar(&replace, "replace", false, "put an identity that is there already aside")
	return cmd
}

func identityRotateCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Change the device's key, and keep the names",
		Long: `Makes a new key and hands over to it what the old one has. Both keys sign that, and
each relay that has given a name is shown it by the next start of remote, or at once by
one that runs and gets SIGHUP: no visitor is lost. From then on a relay gives the old key
nothing any more. The old key is kept until all these relays have heard, and then
removed. Names that are made from the key end with it: that needs --yes.`,
		Example: `  remote identity rotate
  remote identity rotate --yes --state-dir ./state`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadIdentity(c, false)
			if err != nil {
				return err
			}
			r, err := remote.RotateIdentity(cfg.StateDir, yes)
			if err != nil {
				return identityError(err)
			}
			showRotation(c.OutOrStdout(), r)
			return nil
		},
	}
	config.IdentityFlags(cmd.Flags(), false)
	cmd.Flags().BoolVar(&yes, "yes", false, "also where names made from the key end")
	return cmd
}

// showRotation writes what a person has to know of a new key.
func showRotation(w io.Writer, r remote.Rotation) {
	fmt.Fprintf(w, "the identity is %s now; it was %s\n", r.New, r.Old)
	for _, name := range r.Ending {
		fmt.Fprintf(w, "%s ends: it was made from the old key\n", name)
	}
	for _, at := range r.Waiting {
		if len(at.Names) > 0 {
			fmt.Fprintf(w, "%s has to hear of it, for %s\n", at.Relay, strings.Join(at.Names, ", "))
		}
	}
	for _, name := range r.Domains {
		fmt.Fprintf(w, "DNS has to name the new key for %s within three days: remote dns %s --relay RELAY\n", name, name)
	}
	fmt.Fprintln(w, "start remote, or send SIGHUP to the one that runs, for the relays to hear of it")
}

// passphraseOf returns the passphrase of an export: from the configuration, else from
// the terminal, where a new one is asked for twice.
func passphraseOf(c *cobra.Command, cfg *config.Identity, isNew bool) (string, error) {
	wrong := func(err error) error {
		return cli.Usage(hint.NoPassphrase.Error(fmt.Errorf("the passphrase: %w", err)))
	}
	p := string(cfg.Passphrase)
	if p == "" {
		f, ok := c.InOrStdin().(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return "", wrong(errors.New("none was given, and there is no terminal to ask for it"))
		}
		var err error
		if p, err = askPassphrase(f, c.ErrOrStderr(), isNew); err != nil {
			return "", wrong(err)
		}
	}
	if isNew && len(p) < remote.MinPassphrase {
		return "", wrong(fmt.Errorf("it has %d bytes, at least %d are wanted", len(p), remote.MinPassphrase))
	}
	return p, nil
}

// askPassphrase reads a passphrase from a terminal, without showing it.
func askPassphrase(f *os.File, prompt io.Writer, twice bool) (string, error) {
	ask := func(text string) (string, error) {
		fmt.Fprint(prompt, text)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(prompt)
		return string(b), err
	}
	first, err := ask("passphrase: ")
	if err != nil || !twice {
		return first, err
	}
	again, err := ask("once more: ")
	if err == nil && again != first {
		err = errors.New("they are not the same")
	}
	return first, err
}
