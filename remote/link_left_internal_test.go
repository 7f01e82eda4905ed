package remote

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// A link whose relay goes away is closed when it has no visitor, though the relay
// does not close it, and not while it has one.
func TestLinkOfARelayThatGoesAwayIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, relay := connected(t, framing.Handler{})
		d := &Device{}
		w := &way{d: d}
		d.cut, d.cutAll = context.WithCancel(t.Context())
		defer d.cutAll()
		visitor, err := relay.Open(framing.Header{Name: "a.relay.test", Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:443")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := link.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go w.leave(link)
		time.Sleep(2 * leftTime)
		if link.Err() != nil {
			t.Errorf("it has ended with a visitor: %v", link.Err())
		}
		visitor.Reset()
		stream.Close()
		time.Sleep(time.Second)
		if link.Err() == nil || w.left.Load() != 0 {
			t.Error("it is open without a visitor")
		}
	})
}

// A link with an old key waits for one with the new key, and no more of them than of other links
// that are left. As many as there are to a relay keep the names however long it denies them to
// the new key; the others end.
func TestLinksWithAnOldKeyAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &Device{ctx: ctx, cut: ctx, late: ctx}
		w := &way{d: d, ctx: ctx}
		due := func() ed25519.PublicKey { return append(make([]byte, 31), 1) }
		var links []*framing.Link
		open := func() (n int) {
			for _, link := range links {
				if link.Err() == nil {
					n++
				}
			}
			return n
		}
		for range maxLeft + 4 {
			link, _ := connected(t, framing.Handler{})
			links = append(links, link)
			go w.succeed(link, due)
		}
		synctest.Wait()
		if open() != maxLeft {
			t.Errorf("%d links are open", open())
		}
		time.Sleep(24 * time.Hour)
		if open() != d.linksEach() {
			t.Errorf("%d links are open a day later, want %d", open(), d.linksEach())
		}
		w.noteClaimed(due())
		time.Sleep(time.Minute)
		if open() > 0 || w.left.Load() > 0 {
			t.Errorf("%d links are open with the new key, %d are counted", open(), w.left.Load())
		}
		cancel()
	})
}

// A key that is rotated away before any link has claimed with it keeps no link of before: they go
// when the next one has the names, and take no place of those that wait after them.
func TestLinksWaitForTheKeyOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &Device{ctx: ctx, cut: ctx, late: ctx, ways: make([]*way, 6)}
		w := &way{d: d, ctx: ctx}
		var now atomic.Int32
		due := func() ed25519.PublicKey { return append(make([]byte, 31), byte(now.Load())) }
		open := func() (list []*framing.Link) {
			for range d.linksEach() {
				link, _ := connected(t, framing.Handler{})
				list = append(list, link)
				go w.succeed(link, due)
			}
			return list
		}
		now.Store(1)
		before := open()
		time.Sleep(time.Minute)
		now.Store(2)
		w.noteClaimed(due())
		time.Sleep(time.Minute)
		for _, link := range before {
			if link.Err() == nil {
				t.Error("it is there still")
			}
		}
		now.Store(3)
		for _, link := range open() {
			if time.Sleep(time.Hour); link.Err() != nil {
				t.Errorf("it has ended before the next key has the names: %v", link.Err())
			}
		}
		cancel()
	})
}

// Links with an old key that have said that they go, and have a visitor still, wait for no key
// any more: they take no place of those that wait for the next one, which an honest relay may
// deny for hours.
func TestLinksThatHaveGoneTakeNoPlaceOfThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &Device{ctx: ctx, cut: ctx, late: ctx}
		w := &way{d: d, ctx: ctx}
		var now atomic.Int32
		due := func() ed25519.PublicKey { return append(make([]byte, 31), byte(now.Load())) }
		open := func(visited bool) (list []*framing.Link) {
			for range d.linksEach() {
				link, relay := connected(t, framing.Handler{})
				if visited {
					if _, err := relay.Open(framing.Header{Name: "a.relay.test", Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:443")}, nil); err != nil {
						t.Fatal(err)
					}
					if _, err := link.Accept(); err != nil {
						t.Fatal(err)
					}
				}
				list = append(list, link)
				go w.succeed(link, due)
			}
			return list
		}
		now.Store(1)
		gone := open(true)
		time.Sleep(time.Minute)
		w.noteClaimed(due())
		time.Sleep(time.Minute)
		now.Store(2)
		waiting := open(false)
		for _, link := range waiting {
			if time.Sleep(time.Hour); link.Err() != nil {
				t.Errorf("it has ended while the next key has no names: %v", link.Err())
			}
		}
		for _, link := range gone {
			if link.Err() != nil {
				t.Errorf("it has ended with a visitor: %v", link.Err())
			}
		}
		waiting[0].Close()
		if synctest.Wait(); w.waiting.Load() != 1 {
			t.Errorf("%d are counted, want the one that is open", w.waiting.Load())
		}
		cancel()
	})
}

// A relay that restarts in good order leaves two links, and a third one may just have moved:
// however many relays there are, the visitors on these are not cut.
func TestEachRelayHasItsPartOfWhatIsLeft(t *testing.T) {
	for _, c := range []struct {
		relays, links int
		want          int32
	}{{1, 0, 16}, {2, 0, 8}, {5, 0, 3}, {9, 0, 3}, {40, 0, 3}, {9, 4, 5}, {1, 20, 21}} {
		d := &Device{cfg: DeviceConfig{Links: c.links}}
		for range c.relays {
			d.ways = append(d.ways, &way{d: d})
		}
		if got := d.ways[0].partOfLeft(); got != c.want {
			t.Errorf("of %d relays with %d links: %d, want %d", c.relays, c.links, got, c.want)
		}
	}
}

// Of what a relay says that it takes back one word for each name is kept, until the session
// sees it; and none once there is no session, though the link lives on for its visitors.
func TestNamesThatALeftLinkLosesAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := claiming(t, nil)
		s.r.berth, _ = s.w.nodes.berth("relay.test", "")
		s.w.d.cut, s.w.d.links = t.Context(), make(map[*framing.Link]linked)
		lose := func() {
			for range 100 {
				s.r.lose(&framing.Denial{Name: "a.relay.test"})
			}
		}
		s.r.takeLost() // as a session that looks
		if lose(); len(s.r.lost) != 1 {
			t.Errorf("%d are kept of one name", len(s.r.lost))
		}
		s.run() // it has no name, and ends at once
		if lose(); len(s.r.lost) != 0 {
			t.Errorf("%d are kept without a session", len(s.r.lost))
		}
	})
}
