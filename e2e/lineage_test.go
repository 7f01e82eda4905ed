//go:build linux

package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// soakVariable makes the tests that it concerns long.
const soakVariable = "KEYSTAY_SOAK"

const (
	takeoverRelay    = "relay.test"
	takeoverName     = "xyz.relay.test"
	takeoverPatience = time.Minute // guards against hanging
)

// A lineage is a relay, with the processes that follow one another, a remote
// and the site behind it.
type lineage struct {
	t       *testing.T
	dir     string
	bin     string
	config  string
	public  string // the address
	client  *tls.Config
	notify  *net.UnixConn
	remote  *exec.Cmd
	log     string // file of all the relays' logs
	main    int    // the process that serves
	retired []int  // those that others have taken over from
}

// newLineage starts a relay and a remote, and waits until the name answers.
func newLineage(t *testing.T) *lineage {
	t.Helper()
	l := emptyLineage(t)
	l.write("relay.yaml", l.yaml("127.0.0.1:0"))
	l.startRelay()
	l.startRemote()
	return l
}

// emptyLineage has the programs and certificates, and runs nothing.
func emptyLineage(t *testing.T) *lineage {
	t.Helper()
	// Processes whose parent ends become children of this one, which can then
	// look at how they end.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ks") // short: a socket's path has 104 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lineage{t: t, dir: dir, bin: filepath.Join(dir, "bin"), log: filepath.Join(dir, "log"), config: filepath.Join(dir, "relay.yaml")}
	l.programs()
	ca := testca.New(t)
	for sub, name := range map[string]string{"relaycert": takeoverRelay, "devicecert": takeoverName} {
		if err := os.Mkdir(l.path(sub), 0o700); err != nil {
			t.Fatal(err)
		}
		ca.Files(l.path(sub), name)
	}
	l.write("ca.pem", string(ca.PEM()))
	l.client = &tls.Config{ServerName: takeoverName, RootCAs: ca.Pool()}
	if l.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.path("notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.notify.Close() })
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(l.log)
			t.Logf("the relays' log:\n%s", b[max(0, len(b)-20000):])
		}
	})
	return l
}

// programs gives the lineage programs of its own: a test may put others in their
// place.
func (l *lineage) programs() {
	l.t.Helper()
	all, err := world.Programs()
	if err == nil {
		err = os.Mkdir(l.bin, 0o700)
	}
	for _, name := range []string{"relay", "remote"} {
		if err == nil {
			err = os.Link(filepath.Join(all, name), filepath.Join(l.bin, name))
		}
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// startRelay starts the first relay and waits until it serves.
func (l *lineage) startRelay() {
	l.t.Helper()
	l.listenRelay()
	l.notified("READY=1")
}

// listenRelay starts the first relay and waits until it listens.
func (l *lineage) listenRelay() {
	l.t.Helper()
	relay := l.start("relay", "--config", l.config)
	l.main = relay.Process.Pid
	l.t.Cleanup(l.killAll)
	l.public = l.logged(`msg=listening for=public addr=(\S+)`)
}

func (l *lineage) yaml(listen string) string {
	return fmt.Sprintf(`domain: %s
listen: [%q]
http_listen: ["127.0.0.1:0"]
admin: {listen: "127.0.0.1:0"}
state_dir: state
tls: {cert_file: relaycert/cert.pem, key_file: relaycert/key.pem}
`, takeoverRelay, listen)
}

func (l *lineage) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lineage) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// start starts one of the programs, with its output in the log.
func (l *lineage) start(program string, args ...string) *exec.Cmd {
	l.t.Helper()
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(l.bin, program), args...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+l.path("notify"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	return cmd
}

func (l *lineage) startRemote(args ...string) {
	l.t.Helper()
	l.startRemoteTo(serveTakeoverSite, args...)
}

// startRemoteTo starts a remote before a site.
func (l *lineage) startRemoteTo(serve http.HandlerFunc, args ...string) {
	l.t.Helper()
	site := &http.Server{Handler: serve}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	go site.Serve(ln)
	l.t.Cleanup(func() { site.Close() })
	cmd := exec.Command(filepath.Join(l.bin, "remote"), append(args, "--domain", takeoverName, "--local", ln.Addr().String(),
		"--relay", takeoverRelay, "--relay-address", l.public, "--relay-root", l.path("ca.pem"), "--state-dir", l.path("device"),
		"--cert", l.path("devicecert/cert.pem"), "--key", l.path("devicecert/key.pem"))...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	stderr, err := os.Create(l.path("remote.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	stderr.Close()
	l.remote = cmd
	l.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				l.t.Errorf("the remote: %v", err)
			}
		}
		if l.t.Failed() {
			b, _ := os.ReadFile(l.path("remote.log"))
			l.t.Logf("the remote's log:\n%s", b[max(0, len(b)-5000):])
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		l.t.Fatalf("the remote says %q, %v", line, err)
	}
	go io.Copy(io.Discard, out)
}

// notified waits for a message to the service manager that matches, and returns
// what its group has.
func (l *lineage) notified(want string) string {
	l.t.Helper()
	re := regexp.MustCompile(want)
	l.notify.SetReadDeadline(time.Now().Add(takeoverPatience))
	for {
		b := make([]byte, 4096)
		n, err := l.notify.Read(b)
		if err != nil {
			l.t.Fatalf("waiting for %q: %v", want, err)
		}
		if m := re.FindStringSubmatch(string(b[:n])); m != nil {
			return m[len(m)-1]
		}
	}
}

// logged waits for something in the log and returns what its group has.
func (l *lineage) logged(want string) string {
	l.t.Helper()
	re := regexp.MustCompile(want)
	for start := time.Now(); time.Since(start) < takeoverPatience; <-time.After(10 * time.Millisecond) {
		b, err := os.ReadFile(l.log)
		if err != nil {
			l.t.Fatal(err)
		}
		if m := re.FindStringSubmatch(string(b)); m != nil {
			return m[len(m)-1]
		}
	}
	l.t.Fatalf("%q is not in the log", want)
	return ""
}

// takeOver replaces the process that serves, by SIGUSR2.
func (l *lineage) takeOver() {
	l.t.Helper()
	if err := syscall.Kill(l.main, syscall.SIGUSR2); err != nil {
		l.t.Fatal(err)
	}
	pid, err := strconv.Atoi(l.notified(`^MAINPID=(\d+)\nREADY=1`))
	if err != nil {
		l.t.Fatal(err)
	}
	l.retired = append(l.retired, l.main)
	l.main = pid
}

// ends waits until a process ends, with exit code 0.
func (l *lineage) ends(pid int) {
	l.t.Helper()
	ended := make(chan string, 1)
	go func() {
		var status syscall.WaitStatus
		for {
			_, err := syscall.Wait4(pid, &status, 0, nil)
			switch {
			case err == syscall.EINTR:
			case err == syscall.ECHILD && syscall.Kill(pid, 0) == nil: // its parent has not ended yet
				<-time.After(10 * time.Millisecond)
			case err == syscall.ECHILD: // its parent has seen how
				ended <- ""
				return
			case err != nil:
				ended <- err.Error()
				return
			case status.ExitStatus() != 0 || status.Signaled():
				ended <- fmt.Sprintf("exit code %d, signal %v", status.ExitStatus(), status.Signal())
				return
			default:
				ended <- ""
				return
			}
		}
	}()
	select {
	case how := <-ended:
		if how != "" {
			l.t.Errorf("process %d: %s", pid, how)
		}
	case <-time.After(takeoverPatience):
		l.t.Errorf("process %d has not ended", pid)
	}
}

// end ends the relay in good order.
func (l *lineage) end() {
	l.t.Helper()
	if l.main != 0 {
		syscall.Kill(l.main, syscall.SIGTERM)
		l.retired = append(l.retired, l.main)
	}
	for _, pid := range l.retired {
		l.ends(pid)
	}
	l.main, l.retired = 0, nil
	if _, err := os.Stat(l.path("state/relay.sock")); !errors.Is(err, os.ErrNotExist) {
		l.t.Errorf("the control socket is left: %v", err)
	}
	log, err := os.ReadFile(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, bad := range []string{"panic:", "a mistake in this program", "cut off", "cannot pass"} {
		if strings.Contains(string(log), bad) {
			l.t.Errorf("the log has %q", bad)
		}
	}
}

func (l *lineage) killAll() {
	for _, pid := range append(l.retired, l.main) {
		if pid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
			syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// count is how often something is in the log.
func (l *lineage) count(text string) int {
	b, err := os.ReadFile(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.Count(string(b), text)
}

// descriptors is what the relay has open when it has the least: the last
// visitors are still about to go.
func (l *lineage) descriptors() (fewest []string) {
	for range 200 {
		if list := descriptorsOf(l.main); fewest == nil || len(list) < len(fewest) {
			fewest = list
		}
		<-time.After(2 * time.Millisecond)
	}
	return fewest
}

// visitors waits until the relay has so many.
func (l *lineage) visitors(n int) {
	l.t.Helper()
	admin := l.logged(`msg=listening for=admin addr=(\S+)`)
	tr := &http.Transport{DisableKeepAlives: true}
	want := fmt.Sprintf("\nkeystay_visitors %d\n", n)
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) {
		req, _ := http.NewRequest("GET", "http://"+admin+"/metrics", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			l.t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(b), want) {
			return
		}
		if time.Since(start) > takeoverPatience {
			l.t.Fatalf("there are never %d visitors", n)
		}
	}
}
