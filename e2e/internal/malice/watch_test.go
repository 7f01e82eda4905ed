package malice_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/e2e/internal/malice"
	"keystay/e2e/internal/shape"
	"keystay/internal/memconn"
	"keystay/internal/probe"
	"keystay/internal/testca"
	"keystay/remote/watch"
)

// The addresses of a search. The device's link to the relay comes from the same address
// as its direct probes, so the operator knows it.
var (
	proxy  = netip.MustParseAddr("198.51.100.7")
	public = netip.MustParseAddr("203.0.113.1") // where the front is
	honest = netip.MustParseAddr("203.0.113.2") // where DNS leads those to whom it lies
)

// A search is one watch, one operator, and how they meet.
type search struct {
	pick    func(begin time.Time) malice.Intercept // what the operator does from begin on
	lies    bool                                   // DNS tells the device's own resolver another address
	dns     bool                                   // the watch asks another resolver too
	proxied bool                                   // the watch has a proxy in another network
	limit   time.Duration                          // after which it is given up
}

// A report is what came of it.
type report struct {
	ok     bool
	after  time.Duration // from when the operator begins to listen in
	probes int           // that came to an end in that time
}

// run runs the search in a bubble of its own.
func (s search) run(t *testing.T, own, foreign tls.Certificate) (f report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(own)
		front := &malice.Front{Name: name, TLS: &tls.Config{Certificates: []tls.Certificate{foreign}},
			Dial: func(ctx context.Context) (net.Conn, error) { return d.at.Dial(ctx) }}
		at := memconn.Listen(nil)
		go front.Serve(at)
		places := map[netip.Addr]*memconn.Listener{public: at, honest: d.at}
		ctx, cancel := context.WithCancel(t.Context())
		var begin time.Time
		told := func(r *watch.Round) {
			if f.ok || begin.IsZero() {
				return
			}
			for _, one := range r.Results {
				if one.Time.Before(begin) {
					continue
				}
				f.probes++
				if one.State == watch.Intercepted && (!f.ok || one.Time.Sub(begin) < f.after) {
					f.ok, f.after = true, one.Time.Sub(begin)
				}
			}
			if f.ok {
				cancel()
			}
		}
		w := &watch.Watch{
			Resolvers: []watch.Resolver{{Name: "the system", Lookup: func(context.Context, string) ([]netip.Addr, error) {
				if s.lies {
					return []netip.Addr{honest}, nil
				}
				return []netip.Addr{public}, nil
			}}},
			Ways: []watch.Way{way("", device, places)},
		}
		if s.dns {
			w.Resolvers = append(w.Resolvers, watch.Resolver{Name: "another", Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{public}, nil
			}})
		}
		if s.proxied {
			w.Ways = append(w.Ways, way("the proxy", proxy, places))
		}
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			w.Run(ctx, &watch.Name{Domain: name, Port: func() int { return 443 }, Key: d.key, Ends: d.ends, Told: told}, nil)
		}()
		// The operator begins at any time of the second and third hour.
		time.Sleep(time.Hour + rand.N(2*time.Hour))
		synctest.Wait()
		begin = time.Now()
		front.Pick(s.pick(begin))
		select {
		case <-ran:
		case <-time.After(s.limit):
		}
		cancel()
		<-ran
		front.Close()
		d.close()
	})
	return f
}

// way is a way of the watch that comes from an address.
func way(name string, from netip.Addr, places map[netip.Addr]*memconn.Listener) watch.Way {
	return watch.Way{Name: name, Dial: func(ctx context.Context, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil || places[to.Addr()] == nil {
			return nil, errors.New("no way there")
		}
		return places[to.Addr()].DialFrom(ctx, &net.TCPAddr{IP: from.AsSlice(), Port: 4711})
	}}
}

// A server is a device in memory, which knows what connections have ended there.
type server struct {
	at   *memconn.Listener
	cert tls.Certificate
	wg   sync.WaitGroup

	mu      sync.Mutex
	ended   map[probe.Exporter]bool
	changed chan struct{} // closed and made anew with each
}

func newDevice(cert tls.Certificate) *server {
	d := &server{at: memconn.Listen(nil), cert: cert, ended: make(map[probe.Exporter]bool), changed: make(chan struct{})}
	d.wg.Go(func() {
		for {
			c, err := d.at.Accept()
			if err != nil {
				return
			}
			d.wg.Go(func() { d.serve(c) })
		}
	})
	return d
}

func (d *server) serve(c net.Conn) {
	defer c.Close()
	tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{d.cert}, NextProtos: []string{"h2", "http/1.1"}})
	if tc.Handshake() != nil {
		return
	}
	state := tc.ConnectionState()
	if x, err := probe.ExporterOf(&state); err == nil {
		d.mu.Lock()
		d.ended[x] = true
		close(d.changed)
		d.changed = make(chan struct{})
		d.mu.Unlock()
	}
	_, _ = tc.Read(make([]byte, 1)) // until the visitor leaves
}

func (d *server) close() {
	d.at.Close()
	d.wg.Wait()
}

func (d *server) key() ([sha256.Size]byte, bool) {
	return sha256.Sum256(d.cert.Leaf.RawSubjectPublicKeyInfo), true
}

// ends implements watch.Name.
func (d *server) ends() watch.Ends { return d }

// Await implements watch.Ends.
func (d *server) Await(ctx context.Context, x probe.Exporter) probe.End {
	for {
		d.mu.Lock()
		here, changed := d.ended[x], d.changed
		d.mu.Unlock()
		if here {
			return probe.Here
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return probe.Elsewhere
		}
	}
}

// Close implements watch.Ends.
func (d *server) Close() {}

// A mode is on whom the operator listens in, as docs/blindness.md lists it.
type mode struct {
	what   string
	pick   func(begin time.Time) malice.Intercept
	alone  outcome // of a watch that looks from the device's address alone
	beside outcome // of one that has a proxy and another resolver too
	lies   bool    // DNS leads the device's own resolver past the operator
	stolen bool    // the operator has a copy of the device's key
}

var modes = []mode{
	{what: "all visitors", pick: always(malice.Everyone), alone: found, beside: found},
	{what: "all visitors, with a copy of the device's key", pick: always(malice.Everyone), alone: found, beside: found, stolen: true},
	{what: "browsers alone", pick: always(malice.OnlyBrowsers), alone: found, beside: found},
	{what: "Firefox alone, by its JA4", pick: firefox, alone: found, beside: found},
	{what: "all but browsers", pick: always(malice.OnlyOthers), alone: found, beside: found},
	{what: "one visitor in a hundred, by chance", pick: always(malice.OneIn(100, rand.Float64)), alone: found, beside: found},
	{what: "all, for one hour", pick: during(time.Hour), alone: byChance, beside: byChance},
	{what: "all, for ten minutes", pick: during(10 * time.Minute), alone: byChance, beside: byChance},
	{what: "all, and DNS leads the device's resolver past it", pick: always(malice.Everyone), alone: never, beside: found, lies: true},
	{what: "all but those from the device's address", pick: always(malice.AllBut(device)), alone: never, beside: found},
	{what: "the same, and nobody for two minutes after each of these", pick: wary, alone: never, beside: found},
	{what: "the same, from two to 29 minutes after each of these alone", pick: between, alone: never, beside: found},
	{what: "all but those from the device's address and its proxy's", pick: always(malice.AllBut(device, proxy)), alone: never, beside: never},
}

func firefox(time.Time) malice.Intercept {
	hello, _ := os.ReadFile("../shape/testdata/firefox.bin")
	s, _ := shape.Of(hello) // where it is none, nobody is picked
	return malice.OnlyJA4(s.JA4())
}

func wary(time.Time) malice.Intercept { return malice.Wary(2*time.Minute, device) }

func between(time.Time) malice.Intercept {
	return malice.Between(2*time.Minute, 29*time.Minute, device)
}

// An outcome is what is expected of a search.
type outcome int

const (
	found outcome = iota
	byChance
	never
)

// limit is after how long a search is given up.
func (o outcome) limit() time.Duration {
	if o == found {
		return 5000 * time.Hour // which even one in a hundred never lasts
	}
	return 6 * time.Hour
}

func always(i malice.Intercept) func(time.Time) malice.Intercept {
	return func(time.Time) malice.Intercept { return i }
}

func during(d time.Duration) func(time.Time) malice.Intercept {
	return func(begin time.Time) malice.Intercept { return malice.During(begin, begin.Add(d)) }
}

// rounds is how often each search is run: KEYSTAY_ROUNDS, or once.
func rounds() int {
	n, _ := strconv.Atoi(os.Getenv("KEYSTAY_ROUNDS"))
	return max(n, 1)
}

// The page says of each mode whether the watch finds it, and it does, or does not. The
// figures there are those of KEYSTAY_ROUNDS=100 and -update.
func TestTheWatchFindsWhatThePageSays(t *testing.T) {
	own, foreign := testca.New(t).Issue(name), testca.New(t).Issue(name)
	table := "| on whom | from the device's address alone | with `--probe-proxy` and `--probe-dns` |\n| --- | --- | --- |\n"
	for _, m := range modes {
		alone := m.search(t, m.alone, false, own, foreign)
		beside := m.search(t, m.beside, true, own, foreign)
		table += fmt.Sprintf("| %s | %s | %s |\n", m.what, alone, beside)
	}
	t.Log("\n" + table)
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegins)
	old, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for its table", pageFile)
	}
	if *update {
		if err := os.WriteFile(pageFile, []byte(before+tableBegins+"\n"+table+"\n"+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, want := verdicts(old), verdicts(table); !slices.Equal(got, want) {
		t.Errorf("%s says\n%s\nand it is\n%s", pageFile, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var update = flag.Bool("update", false, "write the figures into "+pageFile)

// The table stands between these lines of the page.
const (
	pageFile    = "../../../docs/blindness.md"
	tableBegins = "<!-- Made by e2e/internal/malice: KEYSTAY_ROUNDS=100 go test -run WhatThePageSays -update -->\n"
	tableEnds   = "<!-- End of what is made -->\n"
)

// verdicts returns a table without its figures.
func verdicts(table string) (rows []string) {
	figures := regexp.MustCompile(`\d.*`)
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for i, c := range cells[1:] {
			cells[i+1] = figures.ReplaceAllString(strings.TrimSpace(c), "")
		}
		rows = append(rows, strings.TrimSpace(cells[0])+" | "+strings.Join(cells[1:], " | "))
	}
	return rows
}

// search runs the search in a mode, and returns what the page says of it.
func (m mode) search(t *testing.T, expected outcome, beside bool, own, foreign tls.Certificate) string {
	t.Helper()
	var hours []float64
	var probes []int
	n := rounds()
	for range n {
		if m.stolen {
			foreign = own
		}
		s := search{pick: m.pick, lies: m.lies, dns: beside, proxied: beside, limit: expected.limit()}
		if r := s.run(t, own, foreign); r.ok {
			hours, probes = append(hours, r.after.Hours()), append(probes, r.probes)
		}
	}
	k := len(hours)
	if expected == never && k > 0 || expected == found && k < n {
		t.Errorf("%s, with a proxy is %v: found %d times of %d", m.what, beside, k, n)
	}
	slices.Sort(hours)
	slices.Sort(probes)
	switch {
	case expected == never:
		return "never"
	case expected == byChance:
		return fmt.Sprintf("by chance: %d of 100 times", 100*k/n)
	case k == 0:
		return "not found"
	}
	most := k * 95 / 100
	return fmt.Sprintf("found: half within %s, 95 of 100 within %s; %d and %d probes", after(hours[k/2]), after(hours[most]), probes[k/2], probes[most])
}

// after writes hours for people.
func after(h float64) string {
	if h < 2 {
		return fmt.Sprintf("%.0f min", h*60)
	}
	if h < 10 {
		return fmt.Sprintf("%.1f h", h)
	}
	return fmt.Sprintf("%.0f h", h)
}
