//go:build darwin || windows

package unit

import "github.com/kardianos/service"

// Others are files of a unit of the same name that is not by [Manager.Install].
func (m *Manager) Others() []string { return nil }

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

// Lingers reports whether units of a user run without a session of the user.
func Lingers(string) bool { return false }
