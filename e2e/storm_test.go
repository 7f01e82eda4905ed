package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// TestStormOfRemotesPasses has many remotes lose their relay at once, twice: first the path to
// it breaks, while visitors of another name are served, then the relay itself is
// stopped for a while. All must come back; how soon is for the log. The remotes
// run in a process of low priority, in the place of the processors of so many
// devices, so nothing runs beside it.
func TestStormOfRemotesPasses(t *testing.T) {
	remotes := 300
	switch {
	case soaking():
		remotes = 2000
	case world.RaceEnabled: // both ends and all remotes share the processors
		remotes = 100
	}
	addr, release, err := reserve() // nobody else gets it while the relay is stopped
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	r := world.StartRelayWith(t, testca.New(t), nil, addr)
	dir := t.TempDir()
	r.Stop()
	r.Start(dir, r.Addr)
	r.Serve("calm."+pathZone, "", world.Mirror)
	cut := startCrowd(t, crowd{ca: r.CA, via: r.Addr, remotes: remotes})
	world.Eventually(t, ofCrowd, "all remotes up", func() bool { return r.Log.Count("name is up") > remotes })

	stop, stormed := make(chan struct{}), make(chan [2]time.Duration, 1)
	calm := visits(t, r, "calm."+pathZone, nil)
	up := r.Log.Count("name is up")
	go func() { stormed <- visits(t, r, "calm."+pathZone, stop) }()
	cut()
	start := time.Now()
	world.Eventually(t, ofCrowd, "all remotes back after their path broke", func() bool {
		return r.Log.Count("name is up") >= up+remotes
	})
	took := time.Since(start)
	close(stop)
	storm := <-stormed
	t.Logf("%d remotes back %v after their path broke; visitors of another name meanwhile: median %v, p99 %v; before: %v, %v",
		remotes, took.Round(time.Millisecond), storm[0], storm[1], calm[0], calm[1])
	// As if most had waited for the storm to end. On a machine that is busy with other
	// things each visit takes long, before it too.
	if storm[0] > took/2 && storm[0] > 10*calm[0] {
		t.Errorf("visitors of another name waited %v", storm[0])
	}

	r.Stop()
	<-time.After(time.Second) // so that the pauses grow
	up = r.Log.Count("name is up")
	r.Start(dir, r.Addr)
	start = time.Now()
	var half time.Duration
	world.Eventually(t, ofCrowd, "all remotes back after the relay's restart", func() bool {
		n := r.Log.Count("name is up") - up
		if half == 0 && n >= remotes/2 {
			half = time.Since(start)
		}
		return n >= remotes+1
	})
	t.Logf("half of them back %v after the relay's restart, all after %v", half.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
}

// someVisits is how many visits tell how long one takes.
const someVisits = 50

// visits makes visits to a name, one after the other, and returns the median and
// the 99th percentile of how long each took: someVisits of them, or, with a stop,
// as many as begin before it is closed.
func visits(t *testing.T, r *world.Relay, name string, stop chan struct{}) (p [2]time.Duration) {
	var all []time.Duration
	for more := true; more; {
		start := time.Now()
		if err := visitOnce(r, name); err != nil {
			t.Errorf("a visit: %v", err)
			return p
		}
		all = append(all, time.Since(start))
		select {
		case <-stop:
			more = false
		default:
			more = stop != nil || len(all) < someVisits
		}
	}
	slices.Sort(all)
	return [2]time.Duration{all[len(all)/2], all[len(all)*99/100]}
}

// visitOnce sends a few bytes on a new connection and has them echoed.
func visitOnce(r *world.Relay, name string) error {
	c, _, err := r.Visit(name, "")
	if err != nil {
		return err
	}
	defer c.Close()
	return roundTrip(c)
}

// roundTrip has a few bytes echoed.
func roundTrip(c *tls.Conn) error {
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// TestHandshakeFloodLeavesVisitorsServed has thousands begin a TLS handshake for the relay's own
// name at once, at no cost for themselves. Visitors are served as before, and a
// remote gets its turn.
func TestHandshakeFloodLeavesVisitorsServed(t *testing.T) {
	flood := 3000
	if world.RaceEnabled {
		flood = 500
	}
	r := world.StartRelay(t)
	r.Serve("calm."+pathZone, "", world.Mirror)
	calm := visits(t, r, "calm."+pathZone, nil)
	hello := recordedHello(t, r, pathZone)
	conns := make([]net.Conn, flood)
	for i := range conns {
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	stop, flooded := make(chan struct{}), make(chan [2]time.Duration, 1)
	go func() { flooded <- visits(t, r, "calm."+pathZone, stop) }()
	start := time.Now()
	for _, c := range conns {
		c.Write(hello)
	}
	up := r.Log.Count("name is up")
	r.Serve("new."+pathZone, "", world.Mirror)
	world.Eventually(t, world.Patience, "a remote up beside the flood", func() bool { return r.Log.Count("name is up") > up })
	took := time.Since(start)
	answered := 0
	for _, c := range conns { // each gets its ServerHello, or has waited for too long
		c.SetReadDeadline(time.Now().Add(world.Patience))
		if _, err := io.ReadFull(c, make([]byte, 100)); err == nil {
			answered++
		}
	}
	if answered == 0 {
		t.Error("no handshake was answered")
	}
	all := time.Since(start)
	close(stop)
	p := <-flooded
	t.Logf("%d of %d handshakes answered in %v, a remote up after %v; visitors meanwhile: median %v, p99 %v; before: %v, %v",
		answered, flood, all.Round(time.Millisecond), took.Round(time.Millisecond), p[0], p[1], calm[0], calm[1])
	if p[0] > all/2 { // as if most had waited for the flood to end
		t.Errorf("visitors waited %v", p[0])
	}
}

// recordedHello is a ClientHello for a name.
func recordedHello(t *testing.T, r *world.Relay, name string) []byte {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Client(a, &tls.Config{ServerName: name}).Handshake()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
