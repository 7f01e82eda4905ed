package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/unit"
)

// unitName is what a service manager calls the remote.
const unitName = "keystay-remote"

// finalCodes are the exit codes after which a service manager does not start the remote
// again. That of wrong usage is not among them: a program in Go ends with it when it
// crashes, too, so systemd starts it again, and gives up in the end. launchd and Windows
// do not, where it was the program that said it, see [unit.Run].
var finalCodes = []int{cli.ExitRefused, cli.ExitForeign, cli.ExitReplaced}

// serviceCommand has the service manager of the system keep the remote running.
func serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Have the system keep the remote running: systemd, launchd or Windows",
		Long: `The service is started with the machine, or with --user with the user's session, and
again after a failure; not when the relay has refused it for good, when a name is
intercepted, or when a newer run has replaced it.`,
		Example: `  sudo remote service install --domain xyz.relay.net --local :3000
  sudo remote service start
  remote service status
  remote service install --user 3000
  remote service logs --follow`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(serviceInstallCommand(), serviceUninstallCommand(), serviceStartCommand(), serviceStopCommand(), serviceStatusCommand(), serviceLogsCommand())
	return cmd
}

// ofUserFlag adds the flag that says whose service is meant.
func ofUserFlag(fs *pflag.FlagSet) *bool {
	return fs.Bool("user", false, "your own service, which needs no root, instead of the machine's")
}

// An installed is the service as it is installed.
type installed struct {
	*unit.Manager
	path     string // where the service manager has it
	settings string // the file
	stateDir string
}

// findInstalled returns the service that is installed.
func findInstalled(ofUser bool) (*installed, error) {
	m, err := unit.Find(unitName, ofUser)
	if err != nil {
		return nil, hint.NoServiceManager.Error(err)
	}
	i := &installed{Manager: m}
	if i.path, err = m.Path(); err != nil {
		return nil, err
	}
	command, err := m.Command()
	if err != nil {
		return nil, err
	}
	if len(command) == 0 {
		return nil, hint.ServiceMissing.Error(errors.New("the service is not installed"))
	}
	return i, i.read(command[1:])
}

// read finds out what the arguments of an installed service say.
func (i *installed) read(args []string) error {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.ParseErrorsAllowlist.UnknownFlags = true
	config.RemoteStateFlags(fs)
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", i.path, err)
	}
	i.settings = config.RemoteFile(fs)
	i.stateDir, _ = config.RemoteStateSaid(fs) // a file that is wrong is told by a start
	return nil
}

// log is the file of the log, where the service manager keeps none.
func (i *installed) log() string { return filepath.Join(i.stateDir, "service.log") }

// write shows where everything is.
func (i *installed) write(w io.Writer) {
	for _, row := range [][2]string{{"unit", i.path}, {"settings", i.settings}, {"state", i.stateDir}} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %-9s %s\n", row[0], plain.Text(row[1]))
		}
	}
}

// serviceAct is a command that does one thing with the installed service.
func serviceAct(c *cobra.Command, root bool, do func(c *cobra.Command, i *installed) error) *cobra.Command {
	ofUser := ofUserFlag(c.Flags())
	c.Args = cli.NoArgs()
	c.RunE = func(c *cobra.Command, _ []string) error {
		if root && !*ofUser && !isRoot() {
			return wantsRoot(c.Name())
		}
		i, err := findInstalled(*ofUser)
		if err != nil {
			return err
		}
		return do(c, i)
	}
	return c
}

// isRoot reports whether services of the machine can be changed. Windows says itself
// whether they can.
func isRoot() bool { return runtime.GOOS == "windows" || os.Geteuid() == 0 }

func wantsRoot(word string) error {
	return cli.Usage(hint.ServiceWantsRoot.Error(errors.New("a service of the machine is for root to change"), "WORD", word))
}

func serviceUninstallCommand() *cobra.Command {
	return serviceAct(&cobra.Command{
		Use:   "uninstall",
		Short: "Stop the service and take it from the service manager; settings and key stay",
	}, true, func(c *cobra.Command, i *installed) error {
		if _, runs, err := i.State(); err == nil && runs {
			if err := i.Stop(); err != nil {
				return err
			}
		}
		if err := i.Uninstall(); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "uninstalled. These are left: the device's key, which its names belong to, and the settings\n")
		(&installed{settings: i.settings, stateDir: i.stateDir}).write(c.OutOrStdout())
		return nil
	})
}

func serviceStartCommand() *cobra.Command {
	return serviceAct(&cobra.Command{Use: "start", Short: "Start the service now"}, true,
		func(c *cobra.Command, i *installed) error {
			if err := i.Start(); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "started; how it does: remote service status, and what it logs: remote service logs")
			return nil
		})
}

func serviceStopCommand() *cobra.Command {
	return serviceAct(&cobra.Command{
		Use:   "stop",
		Short: "Stop the service in good order; it stays installed",
		Long:  "Visitors may finish for drain_timeout; the command waits for that.",
	}, true, func(c *cobra.Command, i *installed) error {
		if err := i.Stop(); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), "stopped; it is still installed, and starts again with the machine or your session")
		return nil
	})
}

func serviceStatusCommand() *cobra.Command {
	return serviceAct(&cobra.Command{
		Use:   "status",
		Short: "Show whether the service runs, where its settings are, and what it does",
		Long: `Shows what the service manager says, where unit, settings and state are, and what
"remote status" shows of the remote that runs.

Exit codes: 0 it runs, 1 it does not or is not installed, 2 wrong usage, 4 a name is
intercepted.`,
	}, false, func(c *cobra.Command, i *installed) error {
		text, runs, err := i.State()
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		fmt.Fprintf(out, "%s: %s\n", unitName, plain.Text(text))
		i.write(out)
		if !runs {
			return errors.New("the service does not run")
		}
		if i.stateDir == "" {
			fmt.Fprintln(out, "its settings cannot be read by this user: what it does, remote status tells its own user and root")
			return nil
		}
		all, err := findRunning(c.Context(), i.stateDir)
		if len(all) == 0 {
			return err // nothing where it is about to start
		}
		fmt.Fprintln(out)
		return showStatus(out, all, false)
	})
}

func serviceLogsCommand() *cobra.Command {
	var lines int
	var follow bool
	c := serviceAct(&cobra.Command{
		Use:   "logs",
		Short: "Show what the service has logged",
		Long:  "Shows the log that systemd keeps (journalctl), or the file service.log in the state directory.",
	}, false, func(c *cobra.Command, i *installed) error {
		return i.Logs(c.OutOrStdout(), c.ErrOrStderr(), lines, follow, i.log())
	})
	c.Flags().IntVarP(&lines, "lines", "n", 100, "the last `NUMBER` lines")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	return c
}
