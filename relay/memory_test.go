package relay_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// smallMemory gives the relay the least memory there may be.
func smallMemory(s *relay.Server) { s.Memory = relay.MinMemory }

// download is what an honest visitor gets of its device while others take all they
// can.
func (r *rig) download(name string, size int) error {
	c := r.dial()
	defer c.Close()
	c.Write(helloFor(r.t, name))
	n, err := io.CopyN(io.Discard, c, int64(size))
	if err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, size, err)
	}
	return nil
}

// send sends size bytes on each stream.
func (d *device) send(size int) *device {
	return d.serve(func(s *framing.Stream) {
		s.Write(make([]byte, size))
		s.CloseWrite()
		io.Copy(io.Discard, s)
		s.Close()
	})
}

// However many links an identity has, and however many visitors of theirs stop
// reading or sending, what the relay may hold for them stays within the budget, a
// visitor of another identity is served meanwhile, and all is given back.
func TestMemoryOfLinksStaysWithinTheBudget(t *testing.T) {
	for _, way := range []string{"visitors that do not read", "a device that does not read"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, smallMemory)
				var hostile []*device
				var visitors []conn
				const identities, links, each = 3, 4, 60
				for i := range identities {
					id := newIdentity(t)
					name := fmt.Sprintf("hostile%d.relay.test", i)
					for range links {
						d := r.device(id, name)
						if way == "visitors that do not read" {
							d.send(10 << 20)
						}
						hostile = append(hostile, d)
					}
					for range links * each {
						c := r.dial()
						c.Write(helloFor(t, name))
						if way == "a device that does not read" {
							go c.Write(make([]byte, 1<<20))
						}
						visitors = append(visitors, c)
					}
					synctest.Wait()
				}
				used, peak, limit := r.srv.LinkMemory()
				if peak > limit || used < limit/2 {
					t.Errorf("links have %d of %d, at most %d", used, limit, peak)
				}
				r.device(newIdentity(t), "honest.relay.test").send(1 << 20)
				if err := r.download("honest.relay.test", 1<<20); err != nil {
					t.Errorf("an honest visitor: %v", err)
				}
				r.device(newIdentity(t), "other.relay.test").echo("other")
				r.reaches("other.relay.test", "other")
				if _, peak, _ := r.srv.LinkMemory(); peak > limit {
					t.Errorf("peak %d of %d", peak, limit)
				}
				if !strings.Contains(r.log.String(), "is used up") || strings.Count(r.log.String(), "is used up") > 2 {
					t.Errorf("the log has it %d times", strings.Count(r.log.String(), "is used up"))
				}
				for _, c := range visitors {
					c.Close()
				}
				time.Sleep(10 * time.Minute)
				for _, d := range hostile {
					d.Close()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := r.srv.Streams(); n != 0 {
					t.Errorf("%d streams are left", n)
				}
				r.close()
				synctest.Wait()
				if used, _, _ := r.srv.LinkMemory(); used != 0 || r.srv.Identities() != 0 {
					t.Errorf("%d bytes and %d identities are left", used, r.srv.Identities())
				}
				if used, _, _ := r.srv.UnfinishedMemory(); used != 0 {
					t.Errorf("%d bytes of connections without an owner are left", used)
				}
			})
		})
	}
}

// An identity may have so many links and no more, whatever their runs; another one
// is refused for now, the log says so once, and other identities do not notice.
// When links are over others may come.
func TestLinksOfOneIdentityAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		var links []*device
		for i := range relay.MaxLinksPerIdentity {
			d, err := r.link(id.at(uint64(i+1), byte(i)))
			if err != nil {
				t.Fatalf("link %d: %v", i, err)
			}
			links = append(links, d)
		}
		for range 3 {
			_, err := r.link(id)
			var refusal *framing.Refusal
			if !errors.As(err, &refusal) || refusal.Code != framing.RefusedBusy || !strings.Contains(refusal.Text, "64 links") {
				t.Fatalf("one link more: %v", err)
			}
		}
		if n := strings.Count(r.log.String(), "too many links"); n != 1 {
			t.Errorf("the log has it %d times", n)
		}
		r.device(newIdentity(t), "a.relay.test").echo("a")
		r.reaches("a.relay.test", "a")
		links[0].Close()
		synctest.Wait()
		if _, err := r.link(id); err != nil {
			t.Errorf("in the place of one that is over: %v", err)
		}
		r.close()
		if n := r.srv.Identities(); n != 0 {
			t.Errorf("%d identities are left", n)
		}
	})
}

// The rules of a name count for the identity whose claim has brought them, until others
// take their place, or nobody serves the name any more.
func TestRulesOfNamesTakeMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		d, other := r.device(id), r.device(id)
		counted := func(d *device, rules int) int64 {
			t.Helper()
			list := framing.Rules{Allow: slices.Repeat([]netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}, rules)}
			if err := d.Claim(t.Context(), framing.Claim{Name: "a.relay.test", Rules: list}); err != nil {
				t.Fatal(err)
			}
			used, _, _ := r.srv.LinkMemory()
			return used
		}
		none := counted(d, 0)
		all := counted(d, framing.MaxRules)
		if all < none+32*framing.MaxRules {
			t.Errorf("%d rules take %d bytes", framing.MaxRules, all-none)
		}
		if again := counted(other, framing.MaxRules); again != all {
			t.Errorf("the same name from another link makes %d of %d", again, all)
		}
		if fewer := counted(d, 1); fewer <= none || fewer >= all {
			t.Errorf("one rule makes %d, none is %d and all are %d", fewer, none, all)
		}
		for _, d := range []*device{d, other} {
			counted(d, framing.MaxRules)
			if err := d.Unclaim(t.Context(), "a.relay.test"); err != nil {
				t.Fatal(err)
			}
		}
		if used, _, _ := r.srv.LinkMemory(); used != none {
			t.Errorf("%d are left of %d once the name is not served", used, none)
		}
		counted(d, framing.MaxRules)
		d, newer := other, r.device(id.at(2, 2))
		counted(newer, framing.MaxRules) // in the place of the older run
		if err := newer.Release(t.Context(), "a.relay.test"); err != nil {
			t.Fatal(err)
		}
		newer.Close()
		synctest.Wait()
		if used, _, _ := r.srv.LinkMemory(); used != none {
			t.Errorf("%d are left of %d once the name is given back", used, none)
		}
		counted(d, framing.MaxRules)
		r.close()
		synctest.Wait()
		if used, _, _ := r.srv.LinkMemory(); used != 0 {
			t.Errorf("%d bytes are left", used)
		}
	})
}

// Unfinished hellos hold no more than their part of the memory. Those that hold most
// go first, so that small ones are served meanwhile.
func TestUnfinishedHellosStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, smallMemory)
		r.device(newIdentity(t), "a.relay.test").echo("a")
		hello := largeHello(t, "a.relay.test")
		var wg sync.WaitGroup
		var hostile []conn
		for range 400 { // of 68 KiB: 27 MB, where 4 MiB are for all
			c := r.dial()
			hostile = append(hostile, c)
			c.Write(hello[:len(hello)-1])
			synctest.Wait()
		}
		defer func() {
			if t.Failed() {
				t.Log(r.log)
			}
		}()
		used, peak, limit := r.srv.UnfinishedMemory()
		if peak > limit || used < limit/2 {
			t.Errorf("hellos hold %d of %d, at most %d", used, limit, peak)
		}
		for range 20 {
			wg.Go(func() { r.reaches("a.relay.test", "a") })
		}
		wg.Wait()
		// Connections that say nothing at all go too, the oldest first.
		for range 2 * limit / (relay.UnfinishedBase + 4<<10) {
			hostile = append(hostile, r.dial())
		}
		synctest.Wait()
		r.reaches("a.relay.test", "a")
		if _, peak, _ := r.srv.UnfinishedMemory(); peak > limit {
			t.Errorf("at most %d of %d", peak, limit)
		}
		for _, c := range hostile {
			c.Close()
		}
		synctest.Wait()
		if used, _, _ := r.srv.UnfinishedMemory(); used != 0 {
			t.Errorf("%d bytes are left", used)
		}
		r.close()
	})
}

// Visitors with large hellos that wait for a device hold no more than that either;
// a visitor of another name finds room.
func TestWaitingHellosStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, smallMemory)
		var names []string
		for i := range 4 {
			names = append(names, fmt.Sprintf("away%d.relay.test", i))
		}
		r.device(newIdentity(t), names...).Close()
		id := newIdentity(t)
		r.device(id, "a.relay.test").Close()
		synctest.Wait()
		var hostile []conn
		for i := range 4 * relay.MaxHoldsPerName {
			c := r.dial()
			hostile = append(hostile, c)
			go c.Write(largeHello(t, names[i%4]))
			synctest.Wait()
		}
		_, peak, limit := r.srv.UnfinishedMemory()
		if peak > limit || peak < limit/2 {
			t.Errorf("visitors who wait hold %d of %d", peak, limit)
		}
		var wg sync.WaitGroup
		wg.Go(func() { r.reaches("a.relay.test", "a") })
		synctest.Wait()
		r.device(id, "a.relay.test").echo("a")
		wg.Wait()
		for _, c := range hostile {
			c.Close()
		}
		time.Sleep(2 * relay.WatchInterval)
		r.close()
		if used, _, _ := r.srv.UnfinishedMemory(); used != 0 {
			t.Errorf("%d bytes are left", used)
		}
	})
}

// Lanes that have joined their link and are bound to no stream count for its
// identity, as long as they are there: each link may have 16 of them.
func TestSpareLanesTakeMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, smallMemory)
		joined := 0
		for i := range 40 {
			d, err := r.link(newIdentity(t))
			if err != nil {
				break // the memory is used up
			}
			if err := d.Claim(t.Context(), framing.Claim{Name: fmt.Sprintf("a%d.relay.test", i)}); err != nil {
				t.Fatal(err)
			}
			tokens, err := d.WantLanes(t.Context(), framing.MaxSpareLanes)
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range tokens {
				tc := tls.Client(&framing.TLSRecordConn{Conn: r.dial()}, &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.LaneProtocol}})
				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
				lane, err := d.JoinLane(tc, token)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { lane.Close() })
				synctest.Wait()
				select {
				case <-lane.Lost():
				default:
					joined++
				}
			}
		}
		used, peak, limit := r.srv.LinkMemory()
		if joined < framing.MaxSpareLanes || used < int64(joined*framing.SpareLaneMemory) || peak > limit {
			t.Errorf("%d lanes have joined; %d of %d are taken, at most %d", joined, used, limit, peak)
		}
		r.close()
		synctest.Wait()
		if used, _, _ := r.srv.LinkMemory(); used != 0 {
			t.Errorf("%d bytes are left", used)
		}
	})
}
