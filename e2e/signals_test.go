package e2e

import (
	"bufio"
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keystay/e2e/internal/world"
)

// A remote outlives the reader of its log, and SIGHUP without a terminal or
// under nohup: visitors are served, and SIGTERM ends it in good order.
func TestRemoteOutlivesItsTerminal(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	dir, err := world.Programs()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := o.ca.Files(t.TempDir(), outName)
	for name, before := range map[string][]string{"without a terminal": nil, "nohup": {"nohup"}} {
		t.Run(name, func(t *testing.T) {
			args := append(before, filepath.Join(dir, "remote"), "--domain", outName, "--relay", outZone, "--relay-address", o.public, "--local", o.site,
				"--cert", cert, "--key", key, "--relay-root", filepath.Join(o.dir, "root.pem"), "--state-dir", filepath.Join(o.dir, "device"))
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = []string{"HOME=" + o.dir, "PATH=" + os.Getenv("PATH"), world.RaceOptions + "=" + os.Getenv(world.RaceOptions)}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			log, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "https://"+outName) {
				t.Fatalf("%q, %v", line, err)
			}
			out.Close()
			log.Close() // from here on writing to the log fails
			for range 3 {
				cmd.Process.Signal(syscall.SIGHUP) // which is logged
				o.visit(&tls.Config{RootCAs: o.ca.Pool()})
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("its end: %v", err)
			}
		})
	}
}
