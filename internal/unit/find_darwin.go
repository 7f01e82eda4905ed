package unit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kardianos/service"
)

func find(bool) (string, error) { return Launchd, nil }

// Path is the file of the unit, whether it is there or not.
func (m *Manager) Path() (string, error) {
	if !m.ofUser {
		return "/Library/LaunchDaemons/" + m.name + ".plist", nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "LaunchAgents", m.name+".plist"), err
}

// Others are files of a unit of the same name that is not by [Manager.Install].
func (m *Manager) Others() []string { return nil }

// Command is the program and the arguments of the unit that is installed, or nothing.
func (m *Manager) Command() ([]string, error) {
	path, err := m.Path()
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return launchdCommand(string(list)), err
}

// removeFile removes what a failed installation may have left.
func (m *Manager) removeFile() {
	if path, err := m.Path(); err == nil {
		_ = os.Remove(path)
	}
}

// act has the manager do something with the unit: start or stop.
func (m *Manager) act(word string) error {
	s, err := m.control()
	if err != nil {
		return err
	}
	if word == "start" {
		return s.Start()
	}
	return s.Stop()
}

// explain returns what more is known of a failed installation: nothing here.
func (m *Manager) explain() error { return nil }

// State is what the manager says of the unit, in a word, and whether it runs.
func (m *Manager) State() (text string, runs bool, err error) {
	s, err := m.control()
	if err != nil {
		return "", false, err
	}
	is, err := s.Status()
	if is == service.StatusRunning {
		return "running", true, err
	}
	return "stopped", false, err
}

// Logs writes the last lines of the unit's log, and those that come where follow is set.
func (m *Manager) Logs(out, errs io.Writer, lines int, follow bool, file string) error {
	args := []string{"-n", strconv.Itoa(lines), file}
	if follow {
		args = append([]string{"-F"}, args...)
	}
	return run(out, errs, "tail", args...)
}

// Lingers reports whether units of a user run without a session of the user.
func Lingers(string) bool { return false }
