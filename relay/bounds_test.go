package relay_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// nobody is exempt with this, so that addresses of this machine stand for those of others.
var nobody = []netip.Prefix{}

var noRate = limits.Rate{Count: -1}

// boundRig returns a relay on loopback with limits, and a device that serves a name.
func boundRig(t *testing.T, c limits.Config) *rig {
	t.Helper()
	r := newRig(t, func(s *relay.Server) { s.SetLimits(limits.Config{Exempt: everybody}) })
	r.device(newIdentity(t), "a."+zone).echo("a")
	r.srv.SetLimits(c)
	return r
}

// from makes what follows come from an address of this machine.
func (r *rig) from(ip string) *rig {
	r.dial = func() conn {
		c, err := r.dialFrom(ip)
		if err != nil {
			r.t.Error(err)
			panic(err)
		}
		return c
	}
	return r
}

// dialFrom connects from an address of this machine.
func (r *rig) dialFrom(ip string) (conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", r.public)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), nil
}

// limited returns how often a limit was met.
func (r *rig) limited(limit string) (n int) {
	r.t.Helper()
	text := r.metrics()
	_, after, ok := strings.Cut(text, fmt.Sprintf("keystay_limited_total{limit=%q} ", limit))
	if _, err := fmt.Sscan(after, &n); !ok || err != nil {
		r.t.Errorf("no metric for %s", limit)
	}
	return n
}

// metrics returns what the relay shows to the operator.
func (r *rig) metrics() string {
	w := httptest.NewRecorder()
	r.srv.MetricsHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// closed checks that nothing comes on c but its end.
func closed(t *testing.T, c conn) {
	t.Helper()
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v; want nothing", b, err)
	}
}

// One address that has all the connections that it may have gets no more, until
// it ends one; the next address is not touched.
func TestConnectionsOfAnAddress(t *testing.T) {
	r := boundRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Connections: 4, ConnectionRate: noRate}})
	r.from("127.0.1.1")
	var held []conn
	for range 4 {
		c := r.dial()
		c.Write(append(helloFor(t, "a."+zone), "x"...))
		io.ReadFull(c, make([]byte, 3)) // it is served
		held = append(held, c)
	}
	if over, err := r.dialFrom("127.0.1.1"); err == nil { // else it is reset by now
		over.Write(helloFor(t, "a."+zone))
		closed(t, over)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if n := r.limited("address_connections"); n != 1 {
		t.Errorf("%d were too many", n)
	}
	r.from("127.0.1.2").reaches("a."+zone, "a")
	for _, c := range held {
		c.Close()
	}
	for start := time.Now(); ; { // until the relay has seen that they are over
		c, err := r.dialFrom("127.0.1.1")
		if err == nil {
			c.Write(append(helloFor(t, "a."+zone), "x"...))
			_, err = io.ReadFull(c, make([]byte, 3))
		}
		if err == nil {
			break
		} else if time.Since(start) > patience {
			t.Fatal("the address gets nothing any more")
		}
	}
}

// Slow hellos of many addresses hold no more than each address may have, and keep
// neither an honest visitor out nor one of an address that they come from.
func TestSlowHellos(t *testing.T) {
	const addresses, each, most = 20, 60, 10
	r := boundRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Hellos: most, ConnectionRate: noRate}})
	slow := helloFor(t, "a."+zone)[:100]
	var all []conn
	for i := range addresses {
		r.from(fmt.Sprintf("127.0.2.%d", i+1))
		for range each {
			c := r.dial()
			c.Write(slow)
			all = append(all, c)
		}
	}
	r.from("127.0.3.1").reaches("a."+zone, "a")
	r.from("127.0.2.1").reaches("a."+zone, "a")
	for i, c := range all {
		if i%each < each-most { // the oldest of its address
			closed(t, c)
		}
	}
	if n, least := r.limited("address_hellos"), addresses*(each-most); n < least || n > least+1 {
		t.Errorf("%d had to go, want %d", n, least)
	}
	for start := time.Now(); ; runtime.Gosched() { // those that went may just be on their way
		used, _, _ := r.srv.UnfinishedMemory()
		if held := used / (relay.UnfinishedBase + 4<<10); held <= addresses*most {
			break
		} else if time.Since(start) > patience {
			t.Fatalf("%d unfinished hellos are held", held)
		}
	}
}

// Connections of port 80 count for their address, together with those of the public
// port, and are given up when they end.
func TestPort80CountsForAnAddress(t *testing.T) {
	r := boundRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Connections: 1, ConnectionRate: noRate}})
	ln := listenTCP(t)
	done := make(chan error, 1)
	go func() { done <- r.srv.ServeHTTP01(ln) }()
	public := r.public
	r.public = ln.Addr().String()
	for range 3 { // each ends before the next
		c := r.from("127.0.1.1").dial()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a."+zone+"\r\nConnection: close\r\n\r\n")
		if b, err := io.ReadAll(c); !strings.Contains(string(b), "308") {
			t.Fatalf("got %q, %v", b, err)
		}
		c.Close()
		for start := time.Now(); r.srv.CountedConnections() > 0; runtime.Gosched() {
			if time.Since(start) > patience {
				t.Fatal("it counts for ever")
			}
		}
	}
	r.from("127.0.1.1").dial()
	for start := time.Now(); r.srv.CountedConnections() == 0; runtime.Gosched() {
		if time.Since(start) > patience {
			t.Fatal("it never counts")
		}
	}
	r.public = public
	if c, err := r.dialFrom("127.0.1.1"); err == nil {
		c.Write(helloFor(t, "a."+zone))
		closed(t, c)
	}
	r.srv.Close()
	<-done
}

// A link too many is refused with a text that says what to do; those of another
// address come in.
func TestLinksOfAnAddress(t *testing.T) {
	r := boundRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Links: 2, LinkRate: noRate}})
	r.from("127.0.1.1")
	for range 2 {
		r.device(newIdentity(t))
	}
	_, err := r.link(newIdentity(t))
	busy(t, err, "limits.address.links")
	r.from("127.0.1.2").device(newIdentity(t))
	if n := r.limited("address_links"); n != 1 {
		t.Errorf("%d were too many", n)
	}
}

// busy checks that a link was refused for now, and with what text.
func busy(t *testing.T, err error, text string) {
	t.Helper()
	var refusal *framing.Refusal
	if !errors.As(err, &refusal) || refusal.Code != framing.RefusedBusy || !strings.Contains(refusal.Text, text) {
		t.Errorf("got %v, want a refusal with %q", err, text)
	}
}

// Handshakes too many are told so in words once, and by an alert otherwise, before
// they cost anything.
func TestLinkHandshakesOfAnAddress(t *testing.T) {
	r := boundRig(t, limits.Config{Exempt: nobody, Address: limits.Address{Links: 3, LinkRate: limits.Rate{Count: 1, Per: time.Hour}}})
	r.from("127.0.1.1")
	for range 3 {
		r.device(newIdentity(t)).Close()
	}
	_, err := r.link(newIdentity(t))
	busy(t, err, "limits.address.link_rate")
	// The second that passes until the next is told is the machine's.
	alerts := 0
	for range 5 {
		_, err := r.link(newIdentity(t))
		var op *net.OpError
		if errors.As(err, &op) && strings.Contains(err.Error(), "internal error") {
			alerts++
		}
	}
	if alerts == 0 || r.limited("address_handshakes") != 6 {
		t.Errorf("%d alerts, %d were too many", alerts, r.limited("address_handshakes"))
	}
	r.from("127.0.1.2").device(newIdentity(t))
}

// A name that has all its visitors refuses more by an alert, the identity's other
// names do not, and what is set counts at once.
func TestStreamsOfAName(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	r.device(id, "a."+zone, "b."+zone).echo("it")
	r.srv.SetLimits(limits.Config{Name: limits.Owner{Streams: 2}, Identity: limits.Owner{Streams: 3}})
	hold := func(name string) conn {
		c := r.dial()
		c.Write(append(helloFor(t, name), "x"...))
		if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	hold("a." + zone)
	hold("a." + zone)
	r.refused("a."+zone, internalError)
	b := hold("b." + zone)
	r.refused("b."+zone, internalError)
	if r.limited("name_streams") != 1 || r.limited("identity_streams") != 1 {
		t.Error("the counts are wrong")
	}
	r.srv.SetLimits(limits.Config{})
	r.reaches("a."+zone, "it")
	b.Close()
}

// What a token allows counts in the place of that.
func TestOverrideOfAName(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.SetLimits(limits.Config{Name: limits.Owner{ConnsPerSecond: 1}})
	})
	secret, _, err := r.srv.Names.CreateToken(names.TokenInfo{Names: []string{"b." + zone}, Limits: map[string]string{"connection_rate": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	d := r.device(newIdentity(t), "a."+zone).echo("it")
	if err := d.Claim(t.Context(), framing.Claim{Name: "b." + zone, Token: secret}); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		r.reaches("b."+zone, "it")
	}
	for range 10 {
		r.reaches("a."+zone, "it")
	}
	r.refused("a."+zone, internalError)
}

// A visitor of a limited name gets its bytes at the name's rate, both ways.
func TestBandwidthOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, total = 1 << 20, 11 << 20
		r := memRig(t, func(s *relay.Server) {
			s.SetLimits(limits.Config{Exempt: everybody, Name: limits.Owner{Bandwidth: rate}})
		})
		r.device(newIdentity(t), "a."+zone).echo("a")
		c := r.dial()
		hello := helloFor(t, "a."+zone)
		start := time.Now()
		go func() {
			c.Write(hello)
			c.Write(make([]byte, total))
			c.CloseWrite()
		}()
		n, err := io.Copy(io.Discard, c)
		if want := int64(len("a:") + len(hello) + total); n != want || err != nil {
			t.Errorf("%d bytes came, want %d, %v", n, want, err)
		}
		if took := time.Since(start); took < 9500*time.Millisecond || took > 10500*time.Millisecond {
			t.Errorf("11 MiB took %v", took)
		}
		r.close()
	})
}

// When the month's bytes are used up a visitor is cut, by a reset, the next one is
// refused, and a claim is denied with when to ask again. So it is in the next run of
// the relay, and not any more in the next month.
func TestMonthOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(until) - time.Hour)
		id := newIdentity(t)
		dir := t.TempDir()
		spent := limits.Config{Exempt: everybody, Name: limits.Owner{BytesPerMonth: 1 << 20}}
		start := func() (*rig, *names.Grants) {
			grants, err := names.OpenGrants(dir)
			if err != nil {
				t.Fatal(err)
			}
			return memRig(t, func(s *relay.Server) {
				s.Names = &names.Names{Grants: grants}
				s.Usage = s.Names
				s.SetLimits(spent)
			}), grants
		}
		r, grants := start()
		d := r.device(id, "a."+zone).echo("a")
		c := r.dial()
		c.Write(helloFor(t, "a."+zone))
		go c.Write(make([]byte, 4<<20))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the visitor sees %v", err)
		}
		r.refused("a."+zone, internalError)
		if lost := <-d.lost; lost.Code != framing.DeniedLimit || lost.Name != "a."+zone || !strings.Contains(lost.Text, "1 February") {
			t.Errorf("the device loses the name by %+v", lost)
		}
		err := d.Claim(t.Context(), framing.Claim{Name: "a." + zone})
		denied(t, err, framing.DeniedLimit)
		var denial *framing.Denial
		if errors.As(err, &denial); denial.Retry <= 0 || denial.Retry > time.Hour || denial.Hint == "" {
			t.Errorf("ask again after %v, %q", denial.Retry, denial.Hint)
		}
		r.close()
		grants.Close()

		r, grants = start()
		r.device(id, "b."+zone).echo("b")
		r.reaches("b."+zone, "b")
		d = r.device(id)
		denied(t, d.Claim(t.Context(), framing.Claim{Name: "a." + zone}), framing.DeniedLimit)
		time.Sleep(time.Until(until) + time.Minute)
		r.device(id, "a."+zone).echo("a")
		r.reaches("a."+zone, "a")
		r.close()
		grants.Close()
	})
}

// New names of an address are counted, and one too many is denied with when to ask
// again. A name that is held already is none.
func TestNewNamesOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) {
			s.SetLimits(limits.Config{Exempt: nobody, Address: limits.Address{
				Names: limits.Rate{Count: 3, Per: 24 * time.Hour}, Identities: limits.Rate{Count: 2, Per: 24 * time.Hour}}})
		})
		one, two, three := newIdentity(t), newIdentity(t), newIdentity(t)
		r.device(one, "a."+zone, "b."+zone)
		r.device(two, "c."+zone, "c."+zone)
		r.device(one, "a."+zone)
		d := r.device(two)
		err := d.Claim(t.Context(), framing.Claim{Name: "d." + zone})
		denied(t, err, framing.DeniedLimit)
		var denial *framing.Denial
		if errors.As(err, &denial); denial.Retry < 7*time.Hour || denial.Retry > 8*time.Hour {
			t.Errorf("ask again after %v", denial.Retry)
		}
		denied(t, r.device(three).Claim(t.Context(), framing.Claim{Name: "e." + zone}), framing.DeniedLimit)
		r.device(three, three.label()) // a name made from a key is no new name
		if r.limited("address_names") != 1 || r.limited("address_identities") != 1 {
			t.Error("the counts are wrong")
		}
		r.close()
	})
}

// The log has once a minute how often each limit was met, without addresses.
func TestLogOfLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) {
			s.SetLimits(limits.Config{Exempt: nobody, Address: limits.Address{Connections: -1, ConnectionRate: limits.Rate{Count: 1, Per: time.Hour}}})
		})
		for range 20 {
			r.dial()
		}
		synctest.Wait()
		if strings.Contains(r.log.String(), "limits were met") {
			t.Error("it is in the log at once")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		time.Sleep(time.Hour)
		text := r.log.String()
		if n := strings.Count(text, "limits were met"); n != 1 || !strings.Contains(text, "address_rate=19") {
			t.Errorf("%d lines: %s", n, text)
		}
		if strings.Contains(text, "192.0.2.1") {
			t.Errorf("the address is in the log: %s", text)
		}
		r.close()
	})
}
