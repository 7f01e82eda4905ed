//go:build linux || darwin || freebsd

package handover_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keystay/internal/handover"
)

// foreignVariable makes TestForeignUserIsLetInNowhere the process of another user: it holds
// the socket to dial.
const foreignVariable = "HANDOVER_FOREIGN"

// A process of another user is let in neither as the one nor as the other.
func TestForeignUserIsLetInNowhere(t *testing.T) {
	if path := os.Getenv(foreignVariable); path != "" {
		_, err := handover.Dial(path)
		fmt.Printf("dial: %v\n", err)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	c, path := control(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Whatever the modes would keep out is let through, so that the check itself
	// is what refuses.
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(path), "test")
	if err := errors.Join(os.WriteFile(program, b, 0o755), os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := c.Accept()
		accepted <- err
	}()
	cmd := exec.Command(program, "-test.run=^TestForeignUserIsLetInNowhere$")
	cmd.Dir = filepath.Dir(path)
	cmd.Env = append(os.Environ(), foreignVariable+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "another user") {
		t.Errorf("%v\n%s", err, out)
	}
	c.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}
