package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keystay/e2e/internal/world"
)

// TestRelayOutOfDescriptorsKeepsWhoIsThere takes a relay's descriptors away while it
// runs. Visitors are refused first, then whatever comes is closed; those who are there
// stay, a remote still gets in for a while, the operator is answered all the time, the
// log tells once, and all of it is over by itself.
func TestRelayOutOfDescriptorsKeepsWhoIsThere(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	d := p.link("echo." + pathZone)
	if d == nil {
		return
	}
	defer d.Close()
	go func() {
		for {
			s, err := d.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(s, s); s.Close() }()
		}
	}()
	const limit = 160
	rlimit := unix.Rlimit{}
	if err := unix.Prlimit(p.relay.Cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &rlimit); err != nil {
		t.Fatal(err)
	}
	rlimit.Cur = limit
	if err := unix.Prlimit(p.relay.Cmd.Process.Pid, unix.RLIMIT_NOFILE, &rlimit, nil); err != nil {
		t.Fatal(err)
	}
	hello := recordedHello(t, nil, "echo."+pathZone)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.public)
		if err != nil { // it was closed as it came
			var far net.Conn
			c, far = net.Pipe()
			far.Close()
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(world.Patience))
		return c
	}
	// answer says hello and returns what comes back first: its beginning where it is echoed.
	answer := func(c net.Conn) string {
		c.Write(hello)
		b := make([]byte, 7)
		n, _ := io.ReadFull(c, b)
		return string(b[:n])
	}
	echoed := string(hello[:7])
	var visitors []net.Conn
	for len(visitors) <= limit {
		c := dial()
		if got := answer(c); got != echoed {
			if got != "\x15\x03\x03\x00\x02\x02\x50" {
				t.Errorf("visitor %d got %q", len(visitors), got)
			}
			break
		}
		visitors = append(visitors, c)
	}
	if n := len(visitors); n < limit/2 || n > limit*3/4 {
		t.Errorf("%d visitors were let in", n)
	}
	if l := p.link("late." + pathZone); l == nil {
		t.Error("a remote does not get in when visitors do not any more")
	} else {
		defer l.Close()
	}
	idle := make([]net.Conn, limit)
	for i := range idle {
		idle[i] = dial()
	}
	world.Eventually(t, world.Patience, "connections are closed as they come", func() bool { return p.metrics()["keystay_no_descriptors_total"] > limit/4 })
	if open := p.metrics()["process_open_fds"]; open > limit-8 {
		t.Errorf("%v of %d descriptors are open", open, limit)
	}
	for i, v := range visitors {
		said := fmt.Sprintf("visitor %d", i)
		io.WriteString(v, said)
		b := make([]byte, len(hello)-7+len(said)) // the rest of the hello comes first
		if _, err := io.ReadFull(v, b); err != nil || !strings.HasSuffix(string(b), said) {
			t.Fatalf("visitor %d: %v", i, err)
		}
	}
	if res, err := http.Get("http://" + p.relay.Find(`for=admin addr=(\S+)`) + "/readyz"); err != nil || res.StatusCode != 200 {
		t.Errorf("ready: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	programs, err := world.Programs()
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Dir(p.relay.Find(`for=api addr=(\S+)`))
	cmd := exec.Command(filepath.Join(programs, "relay"), "status", "--state-dir", state)
	cmd.Env = append(os.Environ(), world.RaceOptions+"="+os.Getenv(world.RaceOptions))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("relay status: %v\n%s", err, out)
	}
	if n := p.relay.Log.Count("descriptors are nearly used up"); n < 1 || n > 4 { // once a minute at most, and ever less often
		t.Errorf("the log tells %d times", n)
	}
	for _, c := range append(idle, visitors...) {
		c.Close()
	}
	p.answers(world.Patience)
	world.Eventually(t, world.Patience, "a visitor gets in", func() bool { return answer(dial()) == echoed })
	p.relay.Await("there are descriptors again")
	if n := p.metrics()["keystay_panics_total"]; n != 0 {
		t.Errorf("%v panics", n)
	}
	http.DefaultClient.CloseIdleConnections()
}
