package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/relay/limits"
	"keystay/remote"
)

// A lane of a name with a bandwidth carries all that it is asked for, and no faster.
func TestLimitedLane(t *testing.T) {
	t.Parallel()
	const rate, burst, total = 1 << 20, 1 << 20, 3 << 20 // little, so that a busy machine is faster, too
	w := newLaneWorld(t, nil, remote.Config{})
	c, _ := w.bulky()
	w.Server.SetLimits(limits.Config{Name: limits.Owner{Bandwidth: rate}})
	start := time.Now()
	mustFetch(t, c, total)
	// A slow machine takes longer, and no machine less.
	if took, least := time.Since(start), time.Second*(total-burst)/rate; took < least*9/10 {
		t.Errorf("%d bytes took %v, want %v at least", total, took, least)
	}
	if n := w.limited("name_bandwidth"); n == 0 {
		t.Error("nobody had to wait")
	}
}

// limited is how often a limit was met so far.
func (w *laneWorld) limited(limit string) (n int) {
	w.t.Helper()
	res, err := http.Get("http://" + w.admin + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	_, after, _ := strings.Cut(string(text), fmt.Sprintf("keystay_limited_total{limit=%q} ", limit))
	fmt.Sscan(after, &n)
	return n
}

// Slow hellos from many addresses leave honest visitors served. In a soak it is
// 10,000 of them from 100 addresses, and the 99th percentile of the honest ones'
// times is looked at: it is at most 1.1 times that without slow ones.
func TestSlowHellosFromManyAddresses(t *testing.T) {
	addresses, each, rounds, visits := 50, 20, 1, 20
	if soaking() {
		addresses, each, rounds, visits = 100, 100, 9, 400
	}
	const most = 64 // of each address; its clients and the relay are one process here
	nobody := []netip.Prefix{}
	r := world.StartRelay(t)
	r.Serve("calm."+pathZone, "", world.Mirror)
	r.Server.SetLimits(limits.Config{Exempt: nobody, Address: limits.Address{Hellos: most, ConnectionRate: limits.Rate{Count: -1}}})
	hello := recordedHello(t, r, "calm."+pathZone)
	var ratios []float64
	for range rounds {
		without := slowest(t, r, visits)
		conns := make([]net.Conn, 0, addresses*each)
		for i := range addresses * each {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(1+i%addresses))}}
			c, err := d.Dial("tcp", r.Addr)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(hello[:len(hello)/2])
			conns = append(conns, c)
		}
		with := slowest(t, r, visits)
		for _, c := range conns {
			c.Close()
		}
		ratios = append(ratios, float64(with)/float64(without))
		t.Logf("p99 %v without, %v with %d slow hellos", without, with, len(conns))
	}
	slices.Sort(ratios)
	if median := ratios[len(ratios)/2]; soaking() && median > 1.1 {
		t.Errorf("with slow hellos the 99th percentile is %.2f times that without", median)
	}
}

// slowest makes n visits, one after the other, and returns the 99th percentile of
// their times.
func slowest(t *testing.T, r *world.Relay, n int) time.Duration {
	t.Helper()
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		c, _, err := r.Visit("calm."+pathZone, "")
		if err != nil {
			t.Fatalf("an honest visitor: %v", err)
		}
		if err := speaks(c); err != nil {
			t.Fatalf("an honest visitor: %v", err)
		}
		times[i] = time.Since(start)
		c.Close()
	}
	slices.Sort(times)
	return times[n*99/100]
}

// speaks sends a word and gets it back.
func speaks(c *tls.Conn) error {
	if _, err := io.WriteString(c, "word"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}
