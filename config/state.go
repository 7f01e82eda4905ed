package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// DefaultStateDir returns the folder in which this platform keeps the state of
// a program, with /keystay at its end. The folder may not exist yet.
//
// It is the first of $STATE_DIRECTORY where a service manager set it, as it
// stands; else on Linux and other Unix systems $XDG_STATE_HOME/keystay or
// ~/.local/state/keystay, on macOS ~/Library/Application Support/keystay, on
// Windows %LocalAppData%\keystay, or %ProgramData%\keystay for a service.
func DefaultStateDir() (string, error) {
	return stateDir(runtime.GOOS, os.Getenv, os.UserHomeDir)
}

func stateDir(goos string, env func(string) string, home func() (string, error)) (string, error) {
	if dir, _, _ := strings.Cut(env("STATE_DIRECTORY"), ":"); dir != "" && goos == "linux" {
		return dir, nil
	}
	if goos == "windows" {
		// A service runs as a system account, whose own folder is below the
		// system's and is lost when Windows is upgraded.
		local := env("LocalAppData")
		if local != "" && !strings.Contains(strings.ToLower(local), `\config\systemprofile`) {
			return filepath.Join(local, "keystay"), nil
		}
		if data := env("ProgramData"); data != "" {
			return filepath.Join(data, "keystay"), nil
		}
		return "", errors.New("neither %LocalAppData% nor %ProgramData% is set")
	}
	// The XDG specification says to ignore a relative path.
	if dir := env("XDG_STATE_HOME"); goos != "darwin" && filepath.IsAbs(dir) {
		return filepath.Join(dir, "keystay"), nil
	}
	dir, err := home()
	if err != nil {
		return "", err
	}
	if goos == "darwin" {
		return filepath.Join(dir, "Library", "Application Support", "keystay"), nil
	}
	return filepath.Join(dir, ".local", "state", "keystay"), nil
}
