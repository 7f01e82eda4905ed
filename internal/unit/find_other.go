//go:build !linux && !darwin && !windows

package unit

import (
	"errors"
	"io"
)

var errOther = errors.New("systemd, launchd and Windows are known")

func find(bool) (string, error) { return "", errOther }

// Path is the file of the unit, whether it is there or not.
func (m *Manager) Path() (string, error) { return "", errOther }

// Others are files of a unit of the same name that is not by [Manager.Install].
func (m *Manager) Others() []string { return nil }

// Command is the program and the arguments of the unit that is installed, or nothing.
func (m *Manager) Command() ([]string, error) { return nil, errOther }

// removeFile removes what a failed installation may have left: nothing here.
func (m *Manager) removeFile() {}

func (m *Manager) act(string) error { return errOther }

func (m *Manager) explain() error { return nil }

// State is what the manager says of the unit, and whether it runs.
func (m *Manager) State() (text string, runs bool, err error) { return "", false, errOther }

// Logs writes the last lines of the unit's log.
func (m *Manager) Logs(io.Writer, io.Writer, int, bool, string) error { return errOther }

// Lingers reports whether units of a user run without a session of the user.
func Lingers(string) bool { return false }
