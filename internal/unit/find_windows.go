package unit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

func find(ofUser bool) (string, error) {
	if ofUser {
		return "", errors.New("Windows has no services of one user")
	}
	return Windows, nil
}

// Path is where the manager keeps the unit, whether it is there or not.
func (m *Manager) Path() (string, error) {
	return `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\` + m.name, nil
}

// Command is the program and the arguments of the unit that is installed, or nothing.
func (m *Manager) Command() ([]string, error) {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, err
	}
	defer windows.CloseServiceHandle(manager) //nolint:errcheck // nothing can be done about it
	name, err := windows.UTF16PtrFromString(m.name)
	if err != nil {
		return nil, err
	}
	handle, err := windows.OpenService(manager, name, windows.SERVICE_QUERY_CONFIG)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := mgr.Service{Name: m.name, Handle: handle}
	defer s.Close()
	c, err := s.Config()
	if err != nil {
		return nil, err
	}
	return windows.DecomposeCommandLine(c.BinaryPathName)
}

// removeFile removes what a failed installation may have left: nothing here.
func (m *Manager) removeFile() {}

// Logs writes the last lines of the file that the unit logs to. It cannot follow.
func (m *Manager) Logs(out, _ io.Writer, lines int, follow bool, file string) error {
	if follow {
		return fmt.Errorf("following is not built for Windows: Get-Content -Wait %q does it", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	all := strings.SplitAfter(string(text), "\n")
	_, err = io.WriteString(out, strings.Join(all[max(0, len(all)-lines-1):], ""))
	return err
}
