package remote

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A relay that moves the URL of a name over and over does not fill the log. Those of its ports
// are kept to which visitors may still go: the first one, and the last few.
func TestARelayThatSaysManyPortsFillsNothing(t *testing.T) {
	var log bytes.Buffer
	d := &Device{log: slog.New(slog.NewTextHandler(&log, nil))}
	l := &Listener{d: d, ctx: t.Context(), domain: "xyz.relay.test", relays: []string{"relay.test"}}
	w := &way{d: d, candidates: []string{"relay.test"}, wants: map[*Listener]bool{l: true}}
	d.ways = []*way{w}
	if got := l.Ports(); len(got) != 0 {
		t.Errorf("before a relay has said anything they are %v", got)
	}
	for port := 1; port <= 1000; port++ {
		w.notePort(l, port)
	}
	w.notePort(l, 997)
	w.notePort(l, 0)
	if got, want := l.Ports(), []int{1, 997, 994, 995, 996, 998, 999, 1000}; !slices.Equal(got, want) || l.URL() != "https://xyz.relay.test:997" {
		t.Errorf("the ports are %v, want %v; the URL is %s", got, want, l.URL())
	}
	told := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(told) != toldBurst || !strings.Contains(told[0], `level=WARN msg="the URL of a name has moved" name=xyz.relay.test from=https://xyz.relay.test:1 to=https://xyz.relay.test:2 hint=`) {
		t.Errorf("%d lines, the first one: %s", len(told), told[0])
	}
}

// Wherever the URL of a name has moved in the end, the log has it soon, with where it was told
// to be before.
func TestTheLogsLastWordOfAURLIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := &Device{log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		l := &Listener{d: d, ctx: ctx, domain: "xyz.relay.test", relays: []string{"relay.test"}}
		w := &way{d: d, candidates: []string{"relay.test"}, wants: map[*Listener]bool{l: true}}
		d.ways = []*way{w}
		last := func(times int) string {
			for range times {
				for _, port := range []int{443, 8443} {
					w.notePort(l, port)
					time.Sleep(time.Second)
				}
			}
			time.Sleep(toldInterval)
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			return lines[len(lines)-1]
		}
		for _, times := range []int{2, 3, 1000} {
			if got := last(times); !strings.Contains(got, "from=https://xyz.relay.test to=https://xyz.relay.test:8443") {
				t.Errorf("after %d times there and back the last word is %s", times, got)
			}
		}
		if n := strings.Count(log.String(), "\n"); n > 2*toldBurst {
			t.Errorf("%d lines", n)
		}
		cancel()
		d.wg.Wait()
	})
}

// The URL of a name that its relay refuses for good is that of its other relay, or stays.
func TestTheURLIsThatOfTheRelaysThatAreLeft(t *testing.T) {
	var log bytes.Buffer
	d := &Device{log: slog.New(slog.NewTextHandler(&log, nil))}
	l := &Listener{d: d, domain: "xyz.relay.test", relays: []string{"a.test", "b.test"}, links: newNameLinks()}
	var ways []*way
	for _, relay := range []string{"b.test", "a.test"} {
		w := &way{d: d, candidates: []string{relay}, wants: map[*Listener]bool{l: true}, end: func() {}}
		ways, d.ways, l.wanted = append(ways, w), append(d.ways, w), l.wanted+1
	}
	b, a := ways[0], ways[1]
	a.port, b.port = 443, 8443
	if got := l.URL(); got != "https://xyz.relay.test" {
		t.Errorf("where none has given the name it is %s", got)
	}
	for _, c := range []struct {
		step  func()
		url   string
		ports []int
		told  int
	}{
		{func() { b.notePort(l, 8443) }, "https://xyz.relay.test:8443", []int{8443}, 0},
		{func() { a.notePort(l, 443) }, "https://xyz.relay.test", []int{8443, 443}, 1},
		{func() { b.notePort(l, 9443) }, "https://xyz.relay.test", []int{8443, 443, 9443}, 1},
		{func() { d.refuse(a, l, errNoName) }, "https://xyz.relay.test:9443", []int{8443, 9443, 443}, 2},
	} {
		c.step()
		told := strings.Count(log.String(), "has moved")
		if got := l.Ports(); l.URL() != c.url || !slices.Equal(got, c.ports) || told != c.told {
			t.Errorf("it is %s with %v, want %s with %v; told %d times, want %d", l.URL(), got, c.url, c.ports, told, c.told)
		}
	}
	d.mu.Lock()
	d.unwantLocked(b, l)
	d.mu.Unlock()
	if got := l.URL(); got != "https://xyz.relay.test:9443" {
		t.Errorf("in the end it is %s", got)
	}
}
