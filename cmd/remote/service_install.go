package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/unit"
	"keystay/remote"
)

const (
	// settingsName and tokenName are the files in the state directory that have what the
	// command line of an installation has said.
	settingsName, tokenName = "service.yaml", "service.token"
	// endTime is how much longer than the visitors' time the end of a service may take.
	endTime = 10 * time.Second
)

// An installation is a service that is about to be installed.
type installation struct {
	cmd      *cobra.Command
	args     []string // of the remote
	as       string   // the user who was asked for, or ""
	manager  *unit.Manager
	owner    *user.User // that it runs as
	cfg      *config.Remote
	file     string // of the settings; where none was named, the one that is written
	stateDir string
}

func serviceInstallCommand() *cobra.Command {
	var as string
	var ofUser *bool
	c := &cobra.Command{
		Use:   "install [SERVICE]",
		Short: "Install the service, with the settings of this command line",
		Long: `Takes what "remote" takes, and keeps it in the file service.yaml of the state directory,
with whole paths, mode 0600, and a token in a file beside it; or takes --config FILE as it
is. The unit has nothing of it but the file's name.

The service runs as the user who calls sudo, or --as USER, and goes on with that user's
state directory: the device's key and names stay what they are. It is started with the
machine, and by "remote service start".

Exit codes: 0 installed, 1 the service manager refuses, or there is none, 2 wrong usage or
configuration, or it is installed already.`,
		Example: `  sudo remote service install --domain xyz.relay.net --local :3000
  sudo remote service install --config /etc/keystay/remote.yaml --as keystay
  remote service install --user 3000 --relay relay.net`,
		RunE: func(c *cobra.Command, args []string) error {
			if !*ofUser && !isRoot() {
				return wantsRoot("install")
			}
			if as != "" && (*ofUser || runtime.GOOS == "windows") {
				return cli.Usage(errors.New("--as is for a service of the machine under systemd or launchd: with --user it runs as you, on Windows as LocalSystem"))
			}
			i := &installation{cmd: c, args: args, as: as}
			return i.run(*ofUser)
		},
	}
	c.Args = cobra.ArbitraryArgs // config says what is wrong with them
	config.RemoteFlags(c.Flags())
	ofUser = ofUserFlag(c.Flags())
	c.Flags().StringVar(&as, "as", "", "the `USER` that the service runs as; by default the one who calls sudo")
	return c
}

func (i *installation) run(ofUser bool) error {
	warnings, err := i.load(ofUser)
	if err != nil {
		return err
	}
	if i.manager, err = unit.Find(unitName, ofUser); err != nil {
		return hint.NoServiceManager.Error(err)
	}
	if err := i.refuseSecond(ofUser); err != nil {
		return err
	}
	if err := i.chooseState(); err != nil {
		return err
	}
	i.warn(warnings)
	args, err := i.keep()
	if err != nil {
		return err
	}
	u, err := i.unit(ofUser, args)
	if err != nil {
		return err
	}
	if err := i.manager.Install(u); err != nil {
		return err
	}
	i.tell(ofUser)
	return nil
}

// refuseSecond says how to change a service that is there already.
func (i *installation) refuseSecond(ofUser bool) error {
	there, err := findInstalled(ofUser)
	if err == nil {
		return cli.Usage(hint.ServiceThere.Error(fmt.Errorf("the service is installed already: %s", there.path), "FILE", there.settings))
	}
	if others := i.manager.Others(); len(others) > 0 {
		return cli.Usage(hint.ServiceOfPackage.Error(fmt.Errorf("a package has brought a service of this name: %s", others[0])))
	}
	return nil
}

// load reads the configuration as a start would, and finds the user that the service runs
// as.
func (i *installation) load(ofUser bool) ([]config.Warning, error) {
	fs := i.cmd.Flags()
	cfg, warnings, err := config.LoadRemote(fs, i.args)
	if err != nil {
		return nil, cli.Usage(err)
	}
	i.cfg, i.file = cfg, config.RemoteFile(fs)
	if i.file != "" {
		if i.file, err = filepath.Abs(i.file); err != nil {
			return nil, err
		}
		said := config.SaidBesideFile(fs)
		if len(i.args) > 0 {
			said = append(said, "the argument")
		}
		if len(said) > 0 {
			return nil, cli.Usage(hint.ServiceFlagsInFile.Error(fmt.Errorf("the settings are in %s: %s would not count", i.file, strings.Join(said, ", ")), "FILE", i.file))
		}
	}
	if err := trial(i.file, cfg); err != nil {
		return nil, cli.Usage(err)
	}
	i.owner, err = owner(i.as, ofUser)
	return warnings, err
}

// warn prints the warnings that a start of the service would log, and that it will not have
// this shell's proxy.
func (i *installation) warn(warnings []config.Warning) {
	w, cfg := i.cmd.ErrOrStderr(), *i.cfg
	cfg.StateDir = i.stateDir
	for _, one := range slices.Concat(warnings, relayWarnings(&cfg)) {
		caution(w, "remote", one.Message, one.Hints)
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if i.cfg.Proxy == "" && os.Getenv(name) != "" {
			caution(w, "remote", "the service does not have this shell's "+name, hint.ServiceProxy.Do)
			break
		}
	}
}

// keep writes the settings, where no file of them was named, and returns the arguments of
// the service.
func (i *installation) keep() (args []string, err error) {
	if i.file != "" {
		args = []string{"--config", i.file}
		if inFile, err := fileSaysState(i.file); err != nil || inFile != i.stateDir {
			args = append(args, "--state-dir", i.stateDir)
		}
		return args, nil
	}
	i.file = filepath.Join(i.stateDir, settingsName)
	kept, err := config.KeepRemote(i.cmd.Flags(), i.args, i.stateDir, filepath.Join(i.stateDir, tokenName))
	if err != nil {
		return nil, err
	}
	if kept.Token != "" {
		if err := writeOwned(i.stateDir, tokenName, []byte(string(kept.Token)+"\n"), i.owner); err != nil {
			return nil, err
		}
	}
	head := "# What \"remote service install\" was told. The running service takes up changes of this\n# file, or says in its log which take a restart: remote service stop, then start.\n"
	return []string{"--config", i.file}, writeOwned(i.stateDir, settingsName, append([]byte(head), kept.YAML...), i.owner)
}

// fileSaysState returns the state directory that a file says, whatever flags and variables do.
func fileSaysState(file string) (string, error) {
	i := &installed{}
	err := i.read([]string{"--config", file})
	return i.stateDir, err
}

// unit is what the service manager gets.
func (i *installation) unit(ofUser bool, args []string) (*unit.Unit, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	u := &unit.Unit{
		Name: unitName, Description: "keystay remote", Program: program, Args: args, OfUser: ofUser, User: i.owner.Username,
		State: i.stateDir, Log: filepath.Join(i.stateDir, "service.log"), StopTimeout: i.cfg.DrainTimeout + endTime, Final: finalCodes,
	}
	for _, at := range append(slices.Clone(i.cfg.Listen), i.cfg.Metrics) {
		_, port, _ := net.SplitHostPort(at)
		n, err := strconv.Atoi(port)
		u.LowPorts = u.LowPorts || err == nil && n > 0 && n < 1024
	}
	for _, path := range append(pathsOf(i.cfg), program, i.file, i.stateDir) {
		u.Homes = u.Homes || liesIn(path, i.owner.HomeDir, "/home", "/root", "/run/user")
		u.Temporary = u.Temporary || liesIn(path, "/tmp", "/var/tmp")
	}
	return u, nil
}

// pathsOf are the files, folders and sockets that a configuration names.
func pathsOf(cfg *config.Remote) []string {
	paths := append(cfg.Files(), cfg.RelayRoot, cfg.RelayList, cfg.ACMERoot)
	add := func(l config.Local) {
		paths = append(paths, l.Folder)
		if l.Network == "unix" {
			paths = append(paths, l.Address)
		}
	}
	for _, s := range cfg.Services {
		for _, r := range s.Routes {
			add(r.Local)
		}
		for _, a := range s.ALPN {
			add(a.Local)
		}
		if s.Raw != nil {
			add(*s.Raw)
		}
	}
	return append(paths, cfg.InterceptRun...)
}

// liesIn reports whether a path is one of the folders or in one of them.
func liesIn(path string, folders ...string) bool {
	return path != "" && slices.ContainsFunc(folders, func(dir string) bool {
		rel, err := filepath.Rel(dir, path)
		return dir != "" && dir != "/" && err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
	})
}

// tell says what is installed, and what to do next.
func (i *installation) tell(ofUser bool) {
	out := i.cmd.OutOrStdout()
	path, _ := i.manager.Path()
	fmt.Fprintf(out, "installed: %s, for %s\n", unitName, i.manager.Kind)
	(&installed{path: path, settings: i.file, stateDir: i.stateDir}).write(out)
	if runtime.GOOS == "windows" {
		fmt.Fprintln(out, "  runs as   the machine (LocalSystem)")
	} else {
		fmt.Fprintf(out, "  runs as   %s\n", plain.Text(i.owner.Username))
	}
	key := "a new one is made at the first start"
	if info, err := remote.PeekIdentity(i.stateDir); err == nil {
		key = "the one that is there: " + info.Label
	}
	fmt.Fprintf(out, "  key       %s\n", key)
	word, with := "", "the machine"
	if ofUser {
		word, with = " --user", "your session"
		if i.manager.Kind == unit.Systemd && !unit.Lingers(i.owner.Username) {
			caution(i.cmd.ErrOrStderr(), "remote", "a service of a user ends when the user logs out", hint.ServiceLinger.With("USER", i.owner.Username))
		}
	}
	fmt.Fprintf(out, "it starts with %s; now: remote service start%s\n", with, word)
}
