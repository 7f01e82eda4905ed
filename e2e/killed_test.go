package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// TestRemotesAreBackAfterTheRelayIsKilled kills the relay while visitors are in the middle of their
// transfers, with many remotes. When it is back so are the remotes, soon, and
// none has ordered a certificate. The times are for the log; what they are held
// to is generous, since everything shares the processors.
func TestRemotesAreBackAfterTheRelayIsKilled(t *testing.T) {
	remotes, outages := 1000, []time.Duration{0, 2 * time.Second}
	switch {
	case soaking():
		outages = append(outages, 5*time.Second, 30*time.Second, 90*time.Second)
	case world.RaceEnabled:
		remotes = 100
	}
	k := newKillable(t)
	addr, release, err := reserve() // nobody else gets it while the relay is down
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	k.start(addr)
	ordered := filepath.Join(t.TempDir(), "ordered")
	startCrowd(t, crowd{ca: k.ca, via: addr, remotes: remotes, links: 2, direct: true, ordered: ordered})
	world.Eventually(t, ofCrowd, "all remotes up", func() bool { return k.relay.Log.Count("name is up") >= remotes && len(k.back()) == remotes })
	for _, outage := range outages {
		if soaking() {
			<-time.After(35 * time.Second) // a session that was short counts as none
		}
		var transfers []net.Conn
		for i := range 20 {
			transfers = append(transfers, k.transfer(fmt.Sprintf("r%d.%s", i, pathZone)))
		}
		k.relay.Signal(syscall.SIGKILL)
		<-k.relay.Ended()
		for _, c := range transfers {
			if _, err := io.Copy(io.Discard, c); err == nil {
				t.Error("a transfer that was cut looks complete")
			}
			c.Close()
		}
		<-time.After(outage)
		k.start(addr)
		world.Eventually(t, ofCrowd, "all remotes back", func() bool { return k.relay.Log.Count("name is up") >= remotes && len(k.back()) == remotes })
		back := k.back()
		t.Logf("away for %v, then of %d remotes half are back after %v, 99 %% after %v, all after %v",
			outage, remotes, back[len(back)/2], back[len(back)*99/100], back[len(back)-1])
		k.transfer("r1." + pathZone).Close()
	}
	if b, err := os.ReadFile(ordered); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a certificate was ordered: %s %v", b, err)
	}
}

// A killable is a relay that is a program of its own, and can be started again
// at the same address.
type killable struct {
	t     *testing.T
	ca    *testca.CA
	dir   string
	addr  string
	relay *world.Process
}

func newKillable(t *testing.T) *killable {
	return &killable{t: t, ca: testca.New(t), dir: t.TempDir()}
}

// start starts the relay at an address.
func (k *killable) start(addr string) {
	k.t.Helper()
	k.relay, k.addr = world.StartRelayProgram(k.t, k.ca, k.dir, addr, "")
}

var (
	publicIsUp = regexp.MustCompile(`time=(\S+) .*for=public`)
	nameIsUp   = regexp.MustCompile(`time=(\S+) .*msg="name is up".* name=(\S+)`)
)

// back returns how long after the relay's start each name came up, in order.
func (k *killable) back() (took []time.Duration) {
	log := k.relay.Log.String()
	stamp := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			k.t.Fatal(err)
		}
		return at
	}
	start := stamp(publicIsUp.FindStringSubmatch(log)[1])
	seen := make(map[string]bool)
	for _, m := range nameIsUp.FindAllStringSubmatch(log, -1) {
		if !seen[m[2]] {
			seen[m[2]] = true
			took = append(took, stamp(m[1]).Sub(start))
		}
	}
	slices.Sort(took)
	return took
}

// transfer is a visitor of a name who has begun to read.
func (k *killable) transfer(name string) *tls.Conn {
	k.t.Helper()
	raw, err := net.DialTimeout("tcp", k.addr, world.Patience)
	if err != nil {
		k.t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: k.ca.Pool()})
	c.SetDeadline(time.Now().Add(2 * world.Patience))
	if _, err := io.ReadFull(c, make([]byte, 64<<10)); err != nil {
		k.t.Fatal(err)
	}
	return c
}
