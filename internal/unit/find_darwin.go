package unit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
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

// Logs writes the last lines of the unit's log, and those that come where follow is set.
func (m *Manager) Logs(out, errs io.Writer, lines int, follow bool, file string) error {
	args := []string{"-n", strconv.Itoa(lines), file}
	if follow {
		args = append([]string{"-F"}, args...)
	}
	return run(out, errs, "tail", args...)
}
