package e2e

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/framing"
)

// TestIdleLinksCostLittle shows what a relay pays for links on which nothing happens: the
// share of a core, and the memory of each. It is a measurement, with bounds that
// only a mistake goes beyond. KEYSTAY_LINKS is how many links there are;
// for 10,000 each process must be allowed some 10,500 open files.
func TestIdleLinksCostLittle(t *testing.T) {
	t.Parallel()
	links, length := 200, framing.PingInterval
	if soaking() {
		links, length = 8000, time.Minute
	}
	if s := os.Getenv("KEYSTAY_LINKS"); s != "" {
		links, _ = strconv.Atoi(s)
		length = 2 * framing.PingInterval
	}
	p := startPair(t)
	pid := p.relay.Cmd.Process.Pid
	before, then := resident(t, pid), p.metrics()
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	all := make([]*framing.Link, links)
	for i := range all {
		gate <- struct{}{}
		wg.Go(func() {
			all[i] = p.link(fmt.Sprintf("idle%d.%s", i, pathZone))
			<-gate
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, l := range all {
			if l != nil {
				l.Close()
			}
		}
	})
	<-time.After(framing.PingInterval) // each link has sent PING by now
	start, used := time.Now(), cpuTime(t, pid)
	<-time.After(length)
	share := (cpuTime(t, pid) - used).Seconds() / time.Since(start).Seconds()
	each := float64(resident(t, pid)-before) / 1024 / float64(links)
	t.Logf("%d idle links: %.2f %% of a core, that is %.2f %% for 10,000; %.1f KiB resident for each",
		links, 100*share, 100*share*10_000/float64(links), each)
	now := p.metrics()
	grown := func(name string) float64 { return (now[name] - then[name]) / float64(links) }
	t.Logf("each: %.1f KiB of heap in use, %.1f KiB of stacks, %.2f goroutines", grown("go_memstats_heap_inuse_bytes")/1024,
		grown("go_memstats_stack_inuse_bytes")/1024, grown("go_goroutines"))
	if got := grown("go_goroutines"); got > 1.2 {
		t.Errorf("%.2f goroutines for each link", got)
	}
	if links >= 8000 && !world.RaceEnabled && each > 28 {
		t.Errorf("%.1f KiB for each link", each)
	}
	for _, l := range all {
		if l == nil || l.Err() != nil {
			t.Fatal("a link has ended")
		}
	}
	most := 0.5
	if world.RaceEnabled {
		most = 1
	}
	if share*10_000/float64(links) > most {
		t.Error("idle links cost far too much")
	}
}

// metrics are the figures of the relay's admin address that have no labels.
func (p *pairOf) metrics() map[string]float64 {
	p.t.Helper()
	resp, err := http.Get("http://" + p.relay.Find(`for=admin addr=(\S+)`) + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	all := make(map[string]float64)
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) == 2 {
			all[f[0]], _ = strconv.ParseFloat(f[1], 64)
		}
	}
	return all
}

// link makes a link that holds a name, or nil.
func (p *pairOf) link(name string) *framing.Link {
	c, err := tls.Dial("tcp", p.public, &tls.Config{ServerName: pathZone, RootCAs: p.ca.Pool(), NextProtos: []string{framing.Protocol}})
	if err != nil {
		p.t.Error(err)
		return nil
	}
	_, key, _ := ed25519.GenerateKey(nil)
	var h framing.Hello
	cs := c.ConnectionState()
	if err := h.Sign(key, &cs, pathZone); err != nil {
		p.t.Error(err)
		return nil
	}
	l, _, err := framing.Client(context.Background(), c, h, framing.Handler{})
	if err == nil {
		_, err = l.Claim(context.Background(), framing.Claim{Name: name})
	}
	if err != nil {
		p.t.Error(err)
		return nil
	}
	return l
}

// cpuTime is what a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip("needs /proc")
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// resident is the memory of a process, in bytes.
func resident(t *testing.T, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Skip("needs /proc")
	}
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize()
}
