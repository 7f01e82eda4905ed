package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/remote"
	"keystay/remote/watch"
)

// answering is a run that answers on its socket, in a state directory whose path is short
// enough for one.
func answering(t *testing.T) (p *process, l *levers) {
	t.Helper()
	p, _ = alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn", CT: "off", DrainTimeout: time.Minute})
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p.cfg.StateDir = dir
	return p, answerOn(t, p)
}

// answerOn makes a run answer.
func answerOn(t *testing.T, p *process) *levers {
	t.Helper()
	p.began, p.names = time.Now(), make(map[name]*published)
	p.drain, p.endDrain = context.WithCancel(t.Context())
	l := p.openLevers()
	if l.http == nil {
		t.Fatal("there is no socket")
	}
	return l
}

// serves makes a run have a name, to which no relay leads.
func serves(t *testing.T, p *process, domain string) *published {
	t.Helper()
	all, err := p.device.Listen(remote.Name{Domain: domain, Relays: []string{"relay.test"}, RelayAddresses: []string{"127.0.0.1:1"}, Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	local := &config.Local{Kind: config.LocalTCP}
	pub := &published{ln: all[0], service: config.Service{Raw: local}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[name{domain: domain}] = pub
	return pub
}

// A run says what it does on a socket that is its user's alone, and says first what is
// intercepted, with a code of its own.
func TestStatus(t *testing.T) {
	p, l := answering(t)
	pub := serves(t, p, "a.relay.test")
	if runtime.GOOS != "windows" {
		paths, err := sockets(runsDir(p.cfg.StateDir))
		if err != nil || len(paths) != 1 {
			t.Fatal(paths, err)
		}
		for path, want := range map[string]fs.FileMode{paths[0]: 0o600, filepath.Dir(paths[0]): 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
			}
		}
	}
	ask := func(args ...string) (string, error) {
		return execute("", append([]string{"status", "--state-dir", p.cfg.StateDir}, args...)...)
	}
	out, err := ask()
	for _, want := range []string{fmt.Sprintf("as process %d", os.Getpid()), "serving\n", "none is up\n", "https://a.relay.test -> tcp://", "no: no session", "not looked at yet\n", "not watched: it is turned off\n"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%v", want, out, err)
		}
	}
	pub.keep(&watch.Round{Name: "a.relay.test", Time: time.Now(), Results: []watch.Result{{State: watch.Intercepted, Why: "shows a key\x1b[2J"}}})
	out, err = ask()
	if code(err) != cli.ExitForeign || !strings.HasPrefix(out, "INTERCEPTED: a.relay.test: intercepted: the name shows a key") || strings.Contains(out, "\x1b") {
		t.Errorf("code %d\n%q", code(err), out)
	}
	out, err = ask("--json")
	var s status
	if code(err) != cli.ExitForeign || json.NewDecoder(strings.NewReader(out)).Decode(&s) != nil {
		t.Fatalf("code %d\n%s", code(err), out)
	}
	if s.PID != os.Getpid() || s.State != stateServing || !s.Intercepted || len(s.Names) != 1 || !s.Names[0].Intercepted || s.Names[0].Outside.State != "intercepted" || s.Names[0].Up {
		t.Errorf("%+v", s)
	}
	for _, c := range []struct { // an alarm stands until a look has found all to be well
		then watch.State
		code int
		want string
	}{{watch.NotRun, cli.ExitForeign, "INTERCEPTED: a.relay.test"}, {watch.Own, 0, "Alarm before"}} {
		pub.keep(&watch.Round{Name: "a.relay.test", Time: time.Now(), Results: []watch.Result{{State: c.then}}})
		if out, err = ask(); code(err) != c.code || !strings.Contains(out, c.want) {
			t.Errorf("after %s: code %d\n%s", c.then, code(err), out)
		}
	}
	p.endDrain()
	if out, _ = ask(); !strings.Contains(out, stateStopping) {
		t.Errorf("%s", out)
	}
	l.close()
	if left, _ := sockets(runsDir(p.cfg.StateDir)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err = ask(); code(err) != cli.ExitFailed || !strings.Contains(err.Error(), "no remote runs with the state directory "+p.cfg.StateDir) {
		t.Error(err)
	}
}

// Many names are a line each, and what is intercepted is red on a terminal.
func TestStatusOfManyNames(t *testing.T) {
	const n = 500
	var s status
	for i := range n {
		s.Names = append(s.Names, nameStatus{Name: fmt.Sprintf("n%d.relay.test", i), Up: true, Relays: []string{"relay.test"}, Outside: lookStatus{State: "own", Text: "nobody between"}, CT: ctStatus{State: ctClear}})
	}
	s.Names[7].CT, s.Names[7].Intercepted = ctStatus{State: ctForeign, Text: "intercepted: keys"}, true
	var b bytes.Buffer
	s.write(&b, true)
	out := b.String()
	if want := red + "INTERCEPTED: n7.relay.test: certificate transparency: intercepted: keys" + plainAgain + "\n"; !strings.HasPrefix(out, want) {
		t.Errorf("%.200q", out)
	}
	if got := strings.Count(out, "\nn"); got != n {
		t.Errorf("%d lines of names", got)
	}
	if !strings.Contains(out, "n499.relay.test") || strings.Count(out, "nobody between") != n {
		t.Errorf("%s", out[len(out)-500:])
	}
}

// What a run has left that was killed is passed over, and taken away once it is clear
// that nobody is about to listen there.
func TestDeadSockets(t *testing.T) {
	p, l := answering(t)
	defer l.close()
	dir := runsDir(p.cfg.StateDir)
	dead := func(file string) string {
		path := filepath.Join(dir, file)
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		_ = ln.Close()
		return path
	}
	old, young := dead("1.sock"), dead("2.sock")
	if err := os.Chtimes(old, time.Now(), time.Now().Add(-2*sweepAfter)); err != nil {
		t.Fatal(err)
	}
	all, err := findRunning(t.Context(), p.cfg.StateDir)
	if err != nil || len(all) != 1 || all[0].PID != os.Getpid() {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := os.Lstat(old); err == nil {
		t.Error("the old one is there")
	}
	if _, err := os.Lstat(young); err != nil {
		t.Error("the young one is gone")
	}
}

// Stop begins the orderly end, and returns when that has come.
func TestStop(t *testing.T) {
	p, l := answering(t)
	ended := make(chan string, 1)
	go func() {
		out, err := execute("", "stop", "--state-dir", p.cfg.StateDir)
		ended <- fmt.Sprint(out, err)
	}()
	<-p.drain.Done()
	select {
	case out := <-ended:
		t.Errorf("it has not waited: %s", out)
	default:
	}
	l.close()
	if out, want := <-ended, fmt.Sprintf("process %d has ended\n<nil>", os.Getpid()); out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

// A run that is cut short while it stops has not ended in good order, and that is said.
func TestStopThatIsCutShort(t *testing.T) {
	p, l := answering(t)
	go func() {
		<-p.drain.Done()
		_ = l.http.Close()
	}()
	_, err := execute("", "stop", "--state-dir", p.cfg.StateDir)
	if code(err) != cli.ExitFailed || err == nil || !strings.Contains(err.Error(), "without a last word") {
		t.Error(err)
	}
	<-l.closed
}

// Runs that share a state directory are all shown, and none is stopped by chance.
func TestSeveralRuns(t *testing.T) {
	p, l := answering(t)
	defer l.close()
	other, _ := alone(t, &config.Remote{Probe: "off", OnIntercept: "warn", CT: "off"})
	other.cfg.StateDir = p.cfg.StateDir
	defer answerOn(t, other).close()
	out, err := execute("", "status", "--json", "--state-dir", p.cfg.StateDir)
	if err != nil || strings.Count(out, `"pid"`) != 2 {
		t.Errorf("%s%v", out, err)
	}
	for _, lever := range []string{"stop", "reload"} {
		if _, err := execute("", lever, "--state-dir", p.cfg.StateDir); code(err) != cli.ExitUsage || !strings.Contains(err.Error(), "2 remotes run") {
			t.Errorf("%s: %v", lever, err)
		}
	}
	if p.drain.Err() != nil || other.drain.Err() != nil {
		t.Error("one stops")
	}
	if _, err := execute("", "stop", "--pid", "1", "--state-dir", p.cfg.StateDir); code(err) != cli.ExitFailed {
		t.Error(err)
	}
}

// Reload says what was taken up, or what is wrong and what to do about it.
func TestReload(t *testing.T) {
	p, l := answering(t)
	defer l.close()
	ask := func() (string, error) { return execute("", "reload", "--state-dir", p.cfg.StateDir) }
	if out, err := ask(); err != nil || !strings.HasPrefix(out, "there is nothing to reload") {
		t.Errorf("%s%v", out, err)
	}
	p.file = filepath.Join(p.cfg.StateDir, "remote.yaml")
	p.load = func() (*config.Remote, []config.Warning, error) {
		return nil, nil, config.Errors{{From: "remote.yaml", Line: 3, Key: "relay", Message: "no host", Hints: []string{"a hint"}}}
	}
	_, err := ask()
	if code(err) != cli.ExitUsage || !strings.Contains(err.Error(), "remote.yaml:3: no host") {
		t.Error(err)
	}
	var b bytes.Buffer
	cli.Print(&b, "remote", err)
	if !strings.Contains(b.String(), "hint: a hint\n") {
		t.Errorf("%s", b.String())
	}
	p.load = func() (*config.Remote, []config.Warning, error) {
		next := *p.cfg
		next.DNS = "192.0.2.53:53"
		return &next, nil, nil
	}
	if err := os.WriteFile(p.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := ask()
	if err != nil || !strings.Contains(out, "reloaded: added nothing, changed nothing, gone nothing\n") || !strings.Contains(out, "dns has changed and takes a restart") {
		t.Errorf("%s%v", out, err)
	}
}

// Why a name is not up names the DNS server of --dns, as the log does.
func TestStatusAndWaitNameTheServerOfTheFlag(t *testing.T) {
	p, _ := alone(t, &config.Remote{Probe: "auto", OnIntercept: "warn", CT: "off", DNS: "192.0.2.1:53"})
	lost := &net.DNSError{Err: "no such host", Name: "relay.test", Server: "10.0.0.1:53"}
	for _, got := range []error{p.unanswered("a.test", time.Second, lost), p.askedDNS(lost)} {
		if text := got.Error(); strings.Contains(text, "10.0.0.1") || !strings.Contains(text, "on 192.0.2.1:53 (--dns)") {
			t.Error(text)
		}
	}
}
