package watch_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/testca"
	"keystay/remote/watch"
)

// asksAgain answers a hello with a HelloRetryRequest (RFC 8446, section 4.1.4) that has the
// extension encrypted_client_hello: browsers pass over that, and the library of the watch
// does not.
func asksAgain(c net.Conn) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	hello := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(c, hello); err != nil {
		return
	}
	random, _ := hex.DecodeString("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
	body := append([]byte{3, 3}, random...)
	body = append(body, hello[38:39+int(hello[38])]...)                             // the session
	body = append(body, 0x13, 1, 0, 0, 24)                                          // the cipher suite, and the size of what follows
	body = append(body, 0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 24)                      // TLS 1.3, and a share for P-384
	body = append(body, 0xfe, 0x0d, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8)                   // encrypted_client_hello
	body = append([]byte{2, 0, byte(len(body) >> 8), byte(len(body))}, body...)     // a ServerHello
	body = append([]byte{22, 3, 3, byte(len(body) >> 8), byte(len(body))}, body...) // in a record
	_, _ = c.Write(body)
	_, _ = io.Copy(io.Discard, c)
}

// says is a server that answers a hello with some bytes, and ends.
func says(b ...byte) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<14))
		_, _ = c.Write(b)
	}
}

// nth runs so many rounds of a watch, and returns the last one and all alarms.
func nth(t *testing.T, w *watch.Watch, n *watch.Name, count int) (last *watch.Round, alarms []watch.Alarm) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Alarms = &watch.Alarms{Stop: func(a watch.Alarm) { alarms = append(alarms, a) }}
	n.Told = func(r *watch.Round) {
		if last, count = r, count-1; count == 0 {
			cancel()
		}
	}
	w.Run(ctx, n, nil)
	return last, alarms
}

// Beside the name's own port, where a connection comes about and TLS does not, it is not
// known whom browsers meet there. So it is told, in each round, and is no alarm. Where
// nothing takes connections, or says at once that it is no TLS server of the name, nobody
// can listen in.
func TestTLSThatIsNotAgreedOnBesideIsNotChecked(t *testing.T) {
	for what, c := range map[string]struct {
		end  func(*device, *testca.CA) func(net.Conn)
		late time.Duration
		why  string // that it was not checked; or empty
	}{
		"a question that only the library does not take": {
			end: func(*device, *testca.CA) func(net.Conn) { return asksAgain }, why: "fails in the TLS handshake"},
		"somebody who listens in, and is slow": {
			end: func(d *device, public *testca.CA) func(net.Conn) {
				spy := public.Issue(name)
				return func(c net.Conn) { d.serve(c, spy, false, d.key) }
			}, late: 9 * time.Second, why: "does not answer the TLS handshake"},
		"an end": {
			end: func(*device, *testca.CA) func(net.Conn) { return says() }, why: "ends the connection in the TLS handshake"},
		"an alert": {
			end: func(*device, *testca.CA) func(net.Conn) { return says(21, 3, 3, 0, 2, 2, 40) }, why: "handshake failure"},
		"an alert that some browsers pass over": {
			end: func(*device, *testca.CA) func(net.Conn) { return says(21, 3, 3, 0, 2, 1, 112) }, why: "ends the connection"},
		"a version that some browsers do not mind": {
			end: func(*device, *testca.CA) func(net.Conn) { return says(22, 0x20, 0, 0, 1, 2) }, why: "fails in the TLS handshake"},
		"nobody of that name": {
			end: func(*device, *testca.CA) func(net.Conn) { return says(21, 3, 3, 0, 2, 2, 112) }},
		"a server of another kind": {
			end: func(*device, *testca.CA) func(net.Conn) { return says([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...) }},
		"nothing": {},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, public := newDevice(t), testca.New(t)
				ends := map[string]func(net.Conn){"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) }}
				if c.end != nil {
					end := c.end(d, public)
					ends["443"] = func(conn net.Conn) {
						time.Sleep(c.late)
						end(conn)
					}
				}
				n := d.name()
				n.Port = func() int { return 8443 }
				w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{d.byPort(ends)}, Roots: public.Pool()}
				for _, count := range []int{2, 3} {
					round, alarms := nth(t, w, n, count)
					told := slices.ContainsFunc(round.Results, func(r watch.Result) bool {
						return r.State == watch.NotRun && r.Step == watch.AtHandshake && r.Address.Port() == 443 && strings.Contains(r.Why, c.why)
					})
					if told != (c.why != "") || (round.State() == watch.NotRun) != told || len(alarms) > 0 {
						t.Errorf("in round %d: %q; alarms: %v", count, round.Text(), alarms)
					}
				}
			})
		})
	}
}

// So it is where an HTTPS record leads browsers, and in the first round; but that the short
// time of that one was not enough says nothing yet.
func TestTLSThatIsNotAgreedOnWhereARecordLeadsIsNotChecked(t *testing.T) {
	for what, c := range map[string]struct {
		end  func(net.Conn)
		told []bool // in each round
	}{
		"a question": {asksAgain, []bool{true, true}},
		"silence":    {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, []bool{false, true}},
	} {
		for i, want := range c.told {
			t.Run(fmt.Sprint(what, " in round ", i+1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDevice(t)
					own, there := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) }), d.to(c.end)
					dns := gives("192.0.2.1")
					dns.Services = func(context.Context, string, int) ([]watch.Service, error) {
						return []watch.Service{{Host: name, Port: 443, Hints: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}}, nil
					}
					w := &watch.Watch{Resolvers: []watch.Resolver{dns}, Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
						if address == "192.0.2.3:443" {
							return there.Dial(ctx, address)
						}
						return own.Dial(ctx, address)
					}}}}
					round, alarms := nth(t, w, d.name(), i+1)
					if told := strings.Contains(round.Text(), "not checked: 192.0.2.3:443 "); told != want || (round.State() == watch.NotRun) != want || len(alarms) > 0 {
						t.Errorf("%q; alarms: %v", round.Text(), alarms)
					}
				})
			})
		}
	}
}

// A peer tells it of the ports beside, and not that nothing is there.
func TestAPeerTellsOfTLSThatIsNotAgreedOnBeside(t *testing.T) {
	for what, c := range map[string]struct {
		end  func(net.Conn)
		told bool
	}{
		"a question":               {asksAgain, true},
		"silence":                  {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, true},
		"nobody of that name":      {says(21, 3, 3, 0, 2, 2, 112), false},
		"a server of another kind": {says([]byte("SSH-2.0-test\r\n")...), false},
		"nothing":                  {nil, false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDevice(t)
				w, _ := crossing(t, d, d.byPort(map[string]func(net.Conn){
					"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) },
					"443":  c.end,
				}))
				n := d.name()
				n.Port = func() int { return 8443 }
				w.Ways[0].Dial = only(w.Ways[0].Dial, "192.0.2.1:8443", "192.0.2.9:443")
				round, alarms := first(t, w, n)
				if told := strings.Contains(round.Text(), "not checked: 192.0.2.1:443 through "+peerName+" was not seen from there"); told != c.told || (round.State() == watch.NotRun) != told || len(alarms) > 0 {
					t.Errorf("%q; alarms: %v", round.Text(), alarms)
				}
			})
		})
	}
}
