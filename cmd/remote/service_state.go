package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
)

// owner is the user whom a service runs as.
func owner(as string, ofUser bool) (*user.User, error) {
	name := as
	if name == "" && os.Geteuid() == 0 {
		name = os.Getenv("SUDO_USER")
	}
	if name == "" || ofUser {
		return currentUser()
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("--as: %w", err))
	}
	return u, nil
}

// currentUser is the user of this process, also one without a name, as in containers.
func currentUser() (*user.User, error) {
	if u, err := user.Current(); err == nil {
		return u, nil
	}
	home, err := os.UserHomeDir()
	uid := strconv.Itoa(os.Geteuid())
	return &user.User{Username: uid, Uid: uid, Gid: strconv.Itoa(os.Getegid()), HomeDir: home}, err
}

// chooseState finds out the state directory, and refuses one where the service would make
// another key than the one that this user has, or could not write.
func (i *installation) chooseState() (err error) {
	if i.stateDir, err = config.RemoteStateSaid(i.cmd.Flags()); err != nil {
		return cli.Usage(err)
	}
	said := i.stateDir != ""
	if !said {
		if i.stateDir, err = config.StateDirOf(runtime.GOOS, i.owner.HomeDir); err != nil {
			return err
		}
		if here, err := currentUser(); err == nil && here.Uid == i.owner.Uid {
			i.stateDir = i.cfg.StateDir // which knows this user's variables
		}
	}
	if other := i.elsewhere(); !said && other != "" {
		return cli.Usage(hint.ServiceStateElsewhere.Error(fmt.Errorf("the device's key is in %s, and the service would make another one in %s", other, i.stateDir),
			"OWNER", userOf(other), "ACCOUNT", i.owner.Username, "DIR", i.stateDir))
	}
	if is := userOf(i.stateDir); is != "" && is != i.owner.Username && runtime.GOOS != "windows" {
		return cli.Usage(hint.ServiceStateForeign.Error(fmt.Errorf("the state directory %s belongs to %s, and the service runs as %s", i.stateDir, is, i.owner.Username),
			"OWNER", is, "ACCOUNT", i.owner.Username, "DIR", i.stateDir))
	}
	return makeOwned(i.stateDir, i.owner)
}

// elsewhere returns the state directory that has a key where the service's has none: this
// user's, or that of the user who calls sudo. Where there is none it returns "".
func (i *installation) elsewhere() string {
	if hasIdentity(i.stateDir) {
		return ""
	}
	candidates := []string{i.cfg.StateDir}
	if u, err := user.Lookup(os.Getenv("SUDO_USER")); err == nil {
		if dir, err := config.StateDirOf(runtime.GOOS, u.HomeDir); err == nil {
			candidates = append(candidates, dir)
		}
	}
	for _, dir := range candidates {
		if dir != i.stateDir && hasIdentity(dir) {
			return dir
		}
	}
	return ""
}

// hasIdentity reports whether a state directory has a key, or something in its place that
// cannot be read.
func hasIdentity(dir string) bool {
	_, err := remote.PeekIdentity(dir)
	return !errors.Is(err, remote.ErrNoIdentity)
}
