//go:build linux

package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/internal/handover"
	"keystay/internal/testca"
)

// soakVariable makes the tests that it concerns long.
const soakVariable = "KEYSTAY_SOAK"

const (
	takeoverRelay    = "relay.test"
	takeoverName     = "xyz.relay.test"
	takeoverPatience = 30 * time.Second
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
	build := exec.Command("go", "build", "-o", l.bin+"/", "./cmd/relay", "./cmd/remote")
	build.Dir = ".."
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	ca := testca.New(t)
	for sub, name := range map[string]string{"relaycert": takeoverRelay, "devicecert": takeoverName} {
		if err := os.Mkdir(l.path(sub), 0o700); err != nil {
			t.Fatal(err)
		}
		ca.Files(l.path(sub), name)
	}
	l.write("ca.pem", string(ca.PEM()))
	l.client = &tls.Config{ServerName: takeoverName, RootCAs: ca.Pool()}
	l.write("relay.yaml", l.yaml("127.0.0.1:0"))
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
	relay := l.start("relay", "--config", l.config)
	l.main = relay.Process.Pid
	t.Cleanup(l.killAll)
	l.notified("READY=1")
	l.public = l.logged(`msg=listening for=public addr=(\S+)`)
	l.startRemote()
	return l
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

func (l *lineage) startRemote() {
	l.t.Helper()
	site := &http.Server{Handler: http.HandlerFunc(serveTakeoverSite)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	go site.Serve(ln)
	l.t.Cleanup(func() { site.Close() })
	cmd := exec.Command(filepath.Join(l.bin, "remote"), "--domain", takeoverName, "--local", ln.Addr().String(),
		"--relay", takeoverRelay, "--relay-address", l.public, "--relay-root", l.path("ca.pem"), "--state-dir", l.path("device"),
		"--cert", l.path("devicecert/cert.pem"), "--key", l.path("devicecert/key.pem"))
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
	for _, bad := range []string{"panic:", "cut off", "cannot pass"} {
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

// serveTakeoverSite answers with the bytes that body makes from n, all at once
// or over a time; what is posted is answered with its hash.
func serveTakeoverSite(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
		return
	}
	n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
	pause, _ := time.ParseDuration(r.FormValue("pause"))
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	slowly(w, body(n), pause)
}

func body(n int64) io.Reader {
	var seed [32]byte
	copy(seed[:], strconv.FormatInt(n, 10))
	return io.LimitReader(rand.NewChaCha8(seed), n)
}

// slowly copies with a pause after each 64 KiB.
func slowly(w io.Writer, r io.Reader, pause time.Duration) error {
	for {
		_, err := io.CopyN(w, r, 64<<10)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		<-time.After(pause)
	}
}

func hash(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

// transport reaches the name through the relay.
func (l *lineage) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, l.public)
		},
		TLSClientConfig:     l.client,
		TLSHandshakeTimeout: takeoverPatience,
	}
}

// fetch gets n bytes and checks them.
func (l *lineage) fetch(ctx context.Context, tr http.RoundTripper, n int64, pause time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://%s/?n=%d&pause=%v", takeoverName, n, pause), nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := hash(resp.Body)
	want, _ := hash(body(n))
	if err == nil && (resp.StatusCode != 200 || got != want) {
		err = fmt.Errorf("%s, and the hash is wrong", resp.Status)
	}
	return err
}

// A load is what visitors do while relays come and go.
type load struct {
	l        *lineage
	ctx      context.Context // ends when no more is begun
	wg       sync.WaitGroup
	short    atomic.Int64 // requests that went well, by kind
	long     atomic.Int64
	idle     atomic.Int64
	sites    atomic.Int64 // requests to the relay itself
	mu       sync.Mutex
	failures []error
	times    []time.Duration // of short requests
}

func (v *load) failed(what string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failures = append(v.failures, fmt.Errorf("%s %s: %w", time.Now().Format("15:04:05.000"), what, err))
}

// repeat does something until no more is begun.
func (v *load) repeat(what string, count *atomic.Int64, f func() error) {
	v.wg.Go(func() {
		for v.ctx.Err() == nil {
			if err := f(); err != nil {
				v.failed(what, err)
				return
			}
			count.Add(1)
		}
	})
}

func (v *load) run() {
	fresh := v.l.transport()
	fresh.DisableKeepAlives = true
	one := func() error {
		start := time.Now()
		err := v.l.fetch(context.Background(), fresh, rand.Int64N(20000), 0)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.times = append(v.times, time.Since(start))
		return err
	}
	v.repeat("one after the other", &v.short, one)
	v.repeat("at once", &v.short, func() error {
		errs := make(chan error, 8)
		for range cap(errs) {
			go func() { errs <- one() }()
		}
		var all error
		for range cap(errs) {
			all = errors.Join(all, <-errs)
		}
		return all
	})
	plain := v.l.logged(`msg=listening for=http addr=(\S+)`)
	v.repeat("plain HTTP", &v.sites, func() error { return v.status(fresh, "http://"+plain, takeoverRelay, 308) })
	own := v.l.transport()
	own.TLSClientConfig, own.DisableKeepAlives = v.l.client.Clone(), true
	own.TLSClientConfig.ServerName = takeoverRelay
	v.repeat("the relay's own site", &v.sites, func() error { return v.status(own, "https://"+takeoverRelay, takeoverRelay, 200) })
	for range 3 {
		v.repeat("long download", &v.long, func() error {
			return v.l.fetch(context.Background(), fresh, 2<<20+rand.Int64N(1<<20), 100*time.Millisecond)
		})
	}
	v.repeat("long upload", &v.long, func() error { return v.upload(fresh) })
	for range 3 {
		v.idleThenActive()
	}
}

// status asks for the root of url, now and then.
func (v *load) status(tr *http.Transport, url, host string, want int) error {
	if strings.HasPrefix(url, "http:") {
		tr = &http.Transport{DisableKeepAlives: true}
	}
	req, err := http.NewRequest("GET", url+"/", nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s", resp.Status)
	}
	<-time.After(10 * time.Millisecond)
	return nil
}

func (v *load) upload(tr http.RoundTripper) error {
	n := 1<<20 + rand.Int64N(1<<20)
	r, w := io.Pipe()
	go func() { w.CloseWithError(slowly(w, body(n), 100*time.Millisecond)) }()
	req, err := http.NewRequest("POST", "https://"+takeoverName+"/", r)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if want, _ := hash(body(n)); err == nil && string(got) != want {
		err = fmt.Errorf("%s: the hash is wrong", resp.Status)
	}
	return err
}

// idleThenActive uses one connection, for all the time, now and then.
func (v *load) idleThenActive() {
	tr := v.l.transport()
	tr.MaxConnsPerHost = 1
	used := false
	v.wg.Go(func() {
		defer tr.CloseIdleConnections()
		for {
			reused := false
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
				GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
			err := v.l.fetch(ctx, tr, rand.Int64N(20000), 0)
			if err == nil && used && !reused {
				err = errors.New("the connection had been cut")
			}
			if err != nil {
				v.failed("idle, then active", err)
				return
			}
			used = true
			v.idle.Add(1)
			select {
			case <-v.ctx.Done():
				return
			case <-time.After(time.Second + rand.N(4*time.Second)):
			}
		}
	})
}

// Under a constant load of short, long and idle connections relays take over
// from one another: nobody is refused, nobody is cut, every byte is right.
func TestTakeoverUnderLoad(t *testing.T) {
	times := 20
	if os.Getenv(soakVariable) != "" {
		times = 100
	}
	l := newLineage(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	v := &load{l: l, ctx: ctx}
	v.run()
	start := time.Now()
	for i := range times {
		// So many new visitors are served between two takeovers, as many began
		// before the first of them.
		for goal := v.short.Load() + 25; v.short.Load() < goal; <-time.After(time.Millisecond) {
			v.mu.Lock()
			failures := len(v.failures)
			v.mu.Unlock()
			if failures > 0 || time.Since(start) > time.Duration(times)*takeoverPatience {
				t.Errorf("after %d takeovers", i)
				break
			}
		}
		if t.Failed() {
			break
		}
		if i%2 == 0 { // one follows at once, one after a while
			<-time.After(time.Second)
		}
		old := l.main
		l.takeOver()
		if n := listeningOf(t, old); len(n) > 0 {
			t.Errorf("process %d still listens on %v", old, n)
		}
	}
	took := time.Since(start)
	stop()
	v.wg.Wait()
	for _, err := range v.failures {
		t.Error(err)
	}
	slices.Sort(v.times)
	at := func(q float64) time.Duration { return v.times[int(q*float64(len(v.times)-1))].Round(time.Millisecond) }
	t.Logf("%d takeovers in %v: %d short requests (p50 %v, p99 %v, longest %v), %d long, %d on %d idle connections, %d to the relay itself; %d failed",
		times, took.Round(time.Millisecond), v.short.Load(), at(.5), at(.99), at(1), v.long.Load(), v.idle.Load(), 3, v.sites.Load(), len(v.failures))
	l.end()
}

// listeningOf returns the addresses on which a process listens, TCP and unix.
func listeningOf(t *testing.T, pid int) (list []string) {
	inodes := map[string]string{}
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" {
				inodes[f[9]] = name + " " + f[1]
			}
		}
	}
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n")[1:] {
		if f := strings.Fields(line); len(f) > 7 && f[3] == "00010000" { // __SO_ACCEPTCON
			inodes[f[6]] = f[7]
		}
	}
	// It closes them right after it has told the service manager.
	for range 200 {
		list = nil
		for _, to := range descriptorsOf(pid) {
			if i, ok := strings.CutPrefix(to, "socket:["); ok && inodes[strings.TrimSuffix(i, "]")] != "" {
				list = append(list, inodes[strings.TrimSuffix(i, "]")])
			}
		}
		if len(list) == 0 {
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
	return list
}

// descriptorsOf returns what a process has open.
func descriptorsOf(pid int) (list []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // it may have ended
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			list = append(list, to)
		}
	}
	return list
}

// Whatever goes wrong in a process that is to take over, the running one goes
// on, loses nothing and can still be taken over from.
func TestTakeoverFails(t *testing.T) {
	l := newLineage(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	v := &load{l: l, ctx: ctx}
	tr := l.transport()
	tr.DisableKeepAlives = true
	v.repeat("one after the other", &v.short, func() error { return l.fetch(ctx, tr, rand.Int64N(20000), 0) })
	goesOn := func(t *testing.T) {
		t.Helper()
		for goal := v.short.Load() + 5; v.short.Load() < goal && t.Context().Err() == nil; <-time.After(time.Millisecond) {
			v.mu.Lock()
			failures := v.failures
			v.mu.Unlock()
			if len(failures) > 0 {
				t.Fatal(failures)
			}
		}
		// The record of names is open again: it tells that nobody has this one.
		unknown := l.client.Clone()
		unknown.ServerName = "nobody." + takeoverRelay
		d := tls.Dialer{Config: unknown}
		for start := time.Now(); ; <-time.After(20 * time.Millisecond) {
			_, err := d.Dial("tcp", l.public)
			if strings.Contains(fmt.Sprint(err), "unrecognized name") {
				break
			}
			if time.Since(start) > takeoverPatience {
				t.Fatalf("an unknown name: %v", err)
			}
		}
	}
	goesOn(t)
	before := l.descriptors()

	// Processes that are started by hand.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	byHand := map[string]struct {
		yaml string
		code int
		says string
	}{
		"a mistake in the file":   {l.yaml("127.0.0.1:0") + "nonsense: 1\n", 2, "nonsense"},
		"no certificate":          {strings.Replace(l.yaml("127.0.0.1:0"), "relaycert/cert", "relaycert/none", 1), 2, "none.pem"},
		"another state_dir":       {strings.Replace(l.yaml("127.0.0.1:0"), "dir: state", "dir: state2", 1), 1, "no relay is running on this state_dir"},
		"an address that is used": {l.yaml(other.Addr().String()), 1, "listen for public"},
	}
	for name, tt := range byHand {
		t.Run(name, func(t *testing.T) {
			l.write("wrong.yaml", tt.yaml)
			out, err := exec.Command(filepath.Join(l.bin, "relay"), "--config", l.path("wrong.yaml"), "--takeover").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tt.code || !strings.Contains(string(out), tt.says) {
				t.Errorf("%v\n%s", err, out)
			}
			goesOn(t)
		})
	}
	t.Run("the record of names does not open", func(t *testing.T) {
		names := l.path("state/names.db")
		if err := os.Rename(names, names+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(names, 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(filepath.Join(l.bin, "relay"), "--config", l.config, "--takeover").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "names.db") {
			t.Errorf("%v\n%s", err, out)
		}
		l.logged("cannot open the record of names again")
		if err := errors.Join(os.Remove(names), os.Rename(names+".away", names)); err != nil {
			t.Fatal(err)
		}
		l.logged("the record of names is open again")
		goesOn(t)
	})

	// Processes that break off, or hang, at each step.
	hang := make(chan struct{})
	steps := map[string]func(p *handover.Predecessor) error{
		"says nothing and ends": func(p *handover.Predecessor) error { return nil },
		"takes and ends":        func(p *handover.Predecessor) error { return take(p) },
		"takes and complains": func(p *handover.Predecessor) error {
			err := take(p)
			p.Fail(errors.New("it does not please me"))
			return err
		},
		"takes and hangs": func(p *handover.Predecessor) error {
			err := take(p)
			<-hang
			return err
		},
		"is ready and ends": func(p *handover.Predecessor) error { return errors.Join(take(p), p.Ready()) },
		"is ready and hangs": func(p *handover.Predecessor) error {
			err := errors.Join(take(p), p.Ready())
			<-hang
			return err
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			failures := l.count("nothing was taken over")
			p, err := handover.Dial(l.path("state/relay.sock"))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				err := step(p)
				p.Close()
				done <- err
			}()
			if strings.HasSuffix(name, "hangs") {
				for start := time.Now(); l.count("nothing was taken over") == failures; <-time.After(10 * time.Millisecond) {
					if time.Since(start) > takeoverPatience {
						t.Fatal("the relay still waits")
					}
				}
				hang <- struct{}{}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			goesOn(t)
		})
	}

	// Programs that the running one starts in the place of itself.
	file := filepath.Join(l.bin, "relay")
	for name, script := range map[string]string{
		"a program that ends":      "exit 1",
		"a program that is killed": "kill -9 $$",
		"not a program":            "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Rename(file, file+".away"); err != nil {
				t.Fatal(err)
			}
			text := "#!/bin/sh\n" + script + "\n"
			if script == "" {
				text = "noise"
			}
			if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(l.main, syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			l.notified("RELOADING=1")
			l.notified("^READY=1")
			if err := os.Rename(file+".away", file); err != nil {
				t.Fatal(err)
			}
			goesOn(t)
		})
	}

	if after := l.descriptors(); len(after) > len(before) {
		t.Errorf("descriptors before: %q\nafter: %q", before, after)
	}
	old := l.main
	l.takeOver()
	goesOn(t)
	if n := listeningOf(t, old); len(n) > 0 {
		t.Errorf("process %d still listens on %v", old, n)
	}
	stop()
	v.wg.Wait()
	l.end()
}

func take(p *handover.Predecessor) error {
	sockets, _, err := p.Take()
	for _, s := range sockets {
		s.Listener.Close()
	}
	return err
}

// count is how often something is in the log.
func (l *lineage) count(text string) int {
	b, err := os.ReadFile(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.Count(string(b), text)
}

// descriptors is what the relay has open when it has the least: visitors come
// and go.
func (l *lineage) descriptors() (fewest []string) {
	for range 200 {
		if list := descriptorsOf(l.main); fewest == nil || len(list) < len(fewest) {
			fewest = list
		}
		<-time.After(2 * time.Millisecond)
	}
	return fewest
}

// SIGTERM at the relay or the remote: who is there is served to the end, and
// the programs end by themselves then.
func TestDrain(t *testing.T) {
	for _, which := range []string{"relay", "remote", "relay in the middle of a takeover"} {
		t.Run(which, func(t *testing.T) {
			l := newLineage(t)
			tr := l.transport()
			done := make(chan error, 9)
			for i := range 8 {
				go func() {
					err := l.fetch(context.Background(), tr, 1<<20+int64(i), 50*time.Millisecond)
					if err != nil {
						err = fmt.Errorf("download %d: %w", i, err)
					}
					done <- err
				}()
			}
			go func() { done <- (&load{l: l}).upload(tr) }()
			l.visitors(9)
			pid := l.main
			switch which {
			case "remote":
				pid = l.remote.Process.Pid
			case "relay in the middle of a takeover":
				l.takeOver()
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for range cap(done) {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			tr.CloseIdleConnections()
			if which == "relay" { // it ends by itself
				l.retired, l.main = append(l.retired, l.main), 0
			}
			l.end()
		})
	}
}

// The second signal cuts, by a reset, and does not wait.
func TestSecondSignalCuts(t *testing.T) {
	for _, which := range []string{"relay", "remote"} {
		t.Run(which, func(t *testing.T) {
			l := newLineage(t)
			done := make(chan error, 1)
			go func() { done <- l.fetch(context.Background(), l.transport(), 1<<30, 50*time.Millisecond) }()
			l.visitors(1)
			pid, says := l.main, l.log
			if which == "remote" {
				pid, says = l.remote.Process.Pid, l.path("remote.log")
			}
			syscall.Kill(pid, syscall.SIGTERM)
			waitForText(t, says, "msg=draining")
			start := time.Now()
			syscall.Kill(pid, syscall.SIGTERM)
			if err := <-done; err == nil {
				t.Error("the download looks complete")
			}
			if which == "relay" {
				l.ends(l.main)
				l.main = 0
			} else if err := l.remote.Wait(); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			waitForText(t, says, "visitors were cut off")
		})
	}
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

func waitForText(t *testing.T, file, text string) {
	t.Helper()
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return
		}
		if time.Since(start) > takeoverPatience {
			t.Fatalf("%q is not in %s", text, file)
		}
	}
}

// The service manager's sockets are used in the place of the configuration's,
// also by the process that takes over. While no process runs nobody is refused.
func TestSocketActivation(t *testing.T) {
	l := newLineage(t)
	l.end()
	var files []*os.File
	var addrs []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addrs = append(files, f), append(addrs, ln.Addr().String())
	}
	// The second has no name of ours: its port says what it is for.
	l.write("relay.yaml", strings.Replace(l.yaml("127.0.0.1:1"), `http_listen: ["127.0.0.1:0"]`, fmt.Sprintf("http_listen: [%q]", addrs[1]), 1))
	os.Truncate(l.log, 0)
	begin := func() {
		cmd := exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0" "$@"`, filepath.Join(l.bin, "relay"), "--config", l.config)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+l.path("notify"), "LISTEN_FDS=2", "LISTEN_FDNAMES=public:keystay-relay.socket")
		cmd.ExtraFiles = files
		log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.main = cmd.Process.Pid
		l.notified("^READY=1")
	}
	known := func(dial func() (net.Conn, error)) {
		t.Helper()
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		own := l.client.Clone()
		own.ServerName = takeoverRelay
		c.SetDeadline(time.Now().Add(takeoverPatience))
		if err := tls.Client(c, own).Handshake(); err != nil {
			t.Error(err)
		}
	}
	dial := func() (net.Conn, error) { return net.Dial("tcp", addrs[0]) }
	begin()
	l.logged("for=public addr=" + addrs[0])
	l.logged("for=http addr=" + addrs[1])
	known(dial)
	l.takeOver()
	known(dial)
	if n := l.count("for=public addr=" + addrs[0]); n != 2 {
		t.Errorf("%d processes took the socket", n)
	}
	l.end()
	early, err := dial() // while nobody is there
	if err != nil {
		t.Fatal(err)
	}
	begin()
	known(func() (net.Conn, error) { return early, nil })
	l.end()
}

// What is left in a process that was taken over from is cut, by a reset, when
// takeover_drain is over.
func TestTakeoverDrainCuts(t *testing.T) {
	l := newLineage(t)
	old := l.main
	l.write("relay.yaml", l.yaml("127.0.0.1:0")+"takeover_drain: 300ms\n")
	l.takeOver() // to a process that knows
	done := make(chan error, 1)
	tr := l.transport()
	if err := l.fetch(context.Background(), tr, 1, 0); err != nil {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
	l.ends(old)
	l.retired = nil
	go func() { done <- l.fetch(context.Background(), tr, 1<<30, 50*time.Millisecond) }()
	l.visitors(1)
	old = l.main
	l.takeOver()
	if err := <-done; err == nil || strings.Contains(err.Error(), "hash") {
		t.Errorf("the download ended with %v", err)
	}
	l.ends(old)
	waitForText(t, l.log, "visitors were cut off")
	if err := l.fetch(context.Background(), l.transport(), 1000, 0); err != nil {
		t.Error(err)
	}
}
