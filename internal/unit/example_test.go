package unit_test

import (
	"time"

	"keystay/internal/unit"
)

// A program that starts with the machine, as a user of its own.
func ExampleManager_Install() {
	install := func() error {
		m, err := unit.Find("keystay-remote", false)
		if err != nil {
			return err
		}
		if err := m.Install(&unit.Unit{
			Name: "keystay-remote", Description: "keystay remote", Program: "/usr/local/bin/remote", Args: []string{"3000"},
			User: "keystay", State: "/var/lib/keystay-remote", StopTimeout: 30 * time.Second,
		}); err != nil {
			return err
		}
		return m.Start()
	}
	_ = install
}
