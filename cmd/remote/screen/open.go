package screen

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
)

// errNoDesktop is why nothing is opened: the programs that would do it then take the
// terminal for a browser of their own.
var errNoDesktop = errors.New("there is no desktop here")

// open lets the desktop open a URL. It returns before that is done.
func open(url string) error {
	var cmd *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		cmd = exec.Command("open", url)
	case "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return errNoDesktop
		}
		cmd = exec.Command("xdg-open", url)
	}
	apart(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
