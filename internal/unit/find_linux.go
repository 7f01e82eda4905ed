package unit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// booted is the folder that is there where systemd has started the machine, see
// sd_booted(3).
const booted = "/run/systemd/system"

func find(ofUser bool) (string, error) {
	if _, err := exec.LookPath("systemctl"); err != nil {
		return "", errors.New("there is no systemctl: systemd does not run this machine")
	}
	if ofUser {
		var told bytes.Buffer
		if err := run(io.Discard, &told, "systemctl", "--user", "show-environment"); err != nil {
			return "", fmt.Errorf("systemctl --user: %s", strings.TrimSpace(told.String()))
		}
		return Systemd, nil
	}
	if _, err := os.Stat(booted); err != nil {
		return "", fmt.Errorf("systemd does not run this machine: %w", err)
	}
	return Systemd, nil
}

// Path is the file of the unit, whether it is there or not.
func (m *Manager) Path() (string, error) {
	if !m.ofUser {
		return "/etc/systemd/system/" + m.name + ".service", nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".config", "systemd", "user", m.name+".service"), err
}

// Others are files of a unit of the same name that is not by [Manager.Install], such as a
// package's.
func (m *Manager) Others() (paths []string) {
	if m.ofUser {
		return nil
	}
	for _, dir := range []string{"/usr/lib/systemd/system/", "/lib/systemd/system/", "/usr/local/lib/systemd/system/"} {
		if _, err := os.Stat(dir + m.name + ".service"); err == nil {
			return append(paths, dir+m.name+".service")
		}
	}
	return nil
}

// Command is the program and the arguments of the unit that is installed, or nothing.
func (m *Manager) Command() ([]string, error) {
	path, err := m.Path()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return systemdCommand(string(text)), err
}

// removeFile removes what a failed installation may have left.
func (m *Manager) removeFile() {
	if path, err := m.Path(); err == nil {
		_ = os.Remove(path)
	}
}

// act has systemd do something with the unit. kardianos/service does not hand on what
// systemctl says is wrong.
func (m *Manager) act(word string) error {
	_, err := m.systemctl(word)
	return err
}

// explain returns what systemctl says is wrong with a unit that is not enabled, or nil.
func (m *Manager) explain() error { return m.act("enable") }

// systemctl runs it on the unit, and returns what it prints.
func (m *Manager) systemctl(word string, flags ...string) (string, error) {
	args := append(append([]string{word}, flags...), m.name+".service")
	if m.ofUser {
		args = append(args, "--user")
	}
	var out, told bytes.Buffer
	if err := run(&out, &told, "systemctl", args...); err != nil {
		return "", fmt.Errorf("systemctl %s: %s", word, cmp.Or(strings.TrimSpace(told.String()), err.Error()))
	}
	return out.String(), nil
}

// State is what the manager says of the unit, in a word or two, and whether it runs.
func (m *Manager) State() (text string, runs bool, err error) {
	out, err := m.systemctl("show", "--property=ActiveState,SubState,Result,ExecMainStatus")
	if err != nil {
		return "", false, err
	}
	is := make(map[string]string)
	for l := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), "=")
		is[key] = value
	}
	text = is["ActiveState"] + " (" + is["SubState"] + ")"
	if is["Result"] == "exit-code" {
		text += ", exit code " + is["ExecMainStatus"]
	}
	return text, is["ActiveState"] == "active", nil
}

// Logs writes the last lines of the unit's log, and those that come where follow is set.
func (m *Manager) Logs(out, errs io.Writer, lines int, follow bool, _ string) error {
	args := []string{"--no-pager", "--lines", fmt.Sprint(lines), "--unit", m.name + ".service"}
	if m.ofUser {
		args[3] = "--user-unit"
	}
	if follow {
		args = append(args, "--follow")
	}
	return run(out, errs, "journalctl", args...)
}

// Lingers reports whether units of a user run without a session of the user.
func Lingers(user string) bool {
	_, err := os.Stat("/var/lib/systemd/linger/" + user)
	return err == nil
}
