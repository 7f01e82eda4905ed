// Package unit has the service manager of the system keep a program running: systemd,
// launchd or Windows. It is the only import of kardianos/service.
package unit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
	"unicode"

	"github.com/kardianos/service"
)

// The service managers that a [Unit] can be given to.
const (
	Systemd = "systemd"
	Launchd = "launchd"
	Windows = "Windows"
)

// A Unit is a program that a service manager starts with the machine, or with a user's
// session, and again after a failure.
type Unit struct {
	// Name is what the manager calls it: letters, digits and dashes.
	Name string

	// Description is one line for people.
	Description string

	// Program is the whole path of the program, and Args are its arguments. There is no
	// secret in them: every user of the machine can read them.
	Program string
	Args    []string

	// OfUser makes it a unit of the user who installs it, instead of the machine's.
	OfUser bool

	// User is the user that a unit of the machine runs as.
	User string

	// State is the whole path of the folder that it writes to, which exists.
	State string

	// Homes says that it reads something in a user's home, and Temporary that it does
	// in a folder of temporary files.
	Homes, Temporary bool

	// LowPorts says that it listens on a port below 1024.
	LowPorts bool

	// Log is the whole path of the file that it logs to where the manager keeps no log.
	Log string

	// StopTimeout is how long it may take to end, rounded up to whole seconds.
	StopTimeout time.Duration

	// Final are the exit codes after which it is not started again.
	Final []int
}

// logVariable is the variable with the path of the log of a unit of Windows.
const logVariable = "KEYSTAY_SERVICE_LOG"

// check returns an error for what a manager of that kind cannot be told.
func (u *Unit) check(kind string) error {
	for _, s := range append([]string{u.Name, u.Description, u.Program, u.User, u.State, u.Log}, u.Args...) {
		if strings.ContainsFunc(s, unicode.IsControl) || strings.Contains(s, "{{") {
			return fmt.Errorf("a service manager cannot be given %q", s)
		}
	}
	if kind == Systemd && strings.ContainsAny(u.Program, `"'\`) {
		return fmt.Errorf("systemd starts no program with such a name: %q", u.Program)
	}
	return nil
}

// settings are u as kardianos/service has it.
func (u *Unit) settings() *service.Config {
	return &service.Config{
		Name: u.Name, DisplayName: u.Description, Description: u.Description,
		Executable: u.Program, Arguments: u.Args, UserName: u.User,
		Option: service.KeyValue{
			"UserService":   u.OfUser,
			"SystemdScript": u.systemd(),
			"LaunchdConfig": u.launchd(),
		},
	}
}

// windowsSettings are u as kardianos/service has it for Windows, where it runs as the
// machine's own account: a user's would need the password. A service that says itself that
// it has ended is not started again, see [Run].
func (u *Unit) windowsSettings() *service.Config {
	return &service.Config{
		Name: u.Name, DisplayName: u.Description, Description: u.Description,
		Executable: u.Program, Arguments: u.Args,
		EnvVars: map[string]string{logVariable: u.Log},
		Option: service.KeyValue{
			"DelayedAutoStart":       true, // the network is there by then
			"OnFailure":              "restart",
			"OnFailureDelayDuration": "5s",
			"OnFailureResetPeriod":   3600,
		},
	}
}

// A Manager is the service manager of this system, for one unit.
type Manager struct {
	// Kind is Systemd, Launchd or Windows.
	Kind string

	name   string
	ofUser bool
}

// errNoManager says that no service manager is there.
var errNoManager = errors.New("no service manager that can be used is here")

// Find returns the service manager for a unit of that name, which is the machine's or the
// user's. The error says what is missing.
func Find(name string, ofUser bool) (*Manager, error) {
	kind, err := find(ofUser)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoManager, err)
	}
	return &Manager{Kind: kind, name: name, ofUser: ofUser}, nil
}

// control is the unit with what all but Install wants.
func (m *Manager) control() (service.Service, error) {
	return m.service(&service.Config{Name: m.name, Option: service.KeyValue{"UserService": m.ofUser}})
}

// service returns kardianos' one. On Linux it is systemd's, whatever else may be there.
func (m *Manager) service(c *service.Config) (service.Service, error) {
	for _, s := range service.AvailableSystems() {
		if m.Kind != Systemd || s.String() == "linux-systemd" {
			return s.New(nil, c)
		}
	}
	return nil, errNoManager
}

// errInstalled says that there is a unit of that name already.
var errInstalled = errors.New("it is installed already")

// Install makes the unit known to the manager, to be started with the machine or the
// user's session. It does not start it. Where it fails, nothing is left of it; where there
// is one of that name already, that is an error and nothing is changed.
func (m *Manager) Install(u *Unit) error {
	if err := u.check(m.Kind); err != nil {
		return err
	}
	if there, err := m.Command(); err != nil || len(there) > 0 {
		return cmp.Or(err, errInstalled)
	}
	c := u.settings()
	if m.Kind == Windows {
		c = u.windowsSettings()
	}
	s, err := m.service(c)
	if err != nil {
		return err
	}
	if err := s.Install(); err != nil {
		err = cmp.Or(m.explain(), err)
		_ = s.Uninstall()
		m.removeFile()
		return err
	}
	return nil
}

// Uninstall takes the unit from the manager. It has been stopped.
func (m *Manager) Uninstall() error {
	s, err := m.control()
	if err != nil {
		return err
	}
	return s.Uninstall()
}

// Start starts the unit, and returns when its program runs.
func (m *Manager) Start() error { return m.act("start") }

// Stop ends the unit in good order, and returns when it has ended.
func (m *Manager) Stop() error { return m.act("stop") }

// run runs a program of the manager's with what it prints going to the two writers.
func run(out, errs io.Writer, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = out, errs
	return c.Run()
}
