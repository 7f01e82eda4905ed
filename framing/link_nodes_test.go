package framing_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

var someNodes = framing.Nodes{Own: "b", List: []framing.Node{
	{Name: "a", Address: "192.0.2.1:443", Region: "eu", Weight: 100, Load: 250},
	{Name: "b", Address: "node-b.relay.test:443", Weight: 0, Load: 1200},
}}

// nodeByHand is the entry of a node, with a field of a later version.
func nodeByHand(name string) []byte {
	p := cat(str8(name), str16("192.0.2.1:443"), str8("eu"), u16(100), u16(250), []byte("later"))
	return cat(u16(len(p)), p)
}

// telling is a relay's link and a remote's, which sends what it is told to the channel.
func telling(t *testing.T) (relay, remote *framing.Link, told chan framing.Nodes) {
	told = make(chan framing.Nodes, 100)
	a, b := memconn.Pipe(0)
	made := make(chan *framing.Link)
	go func() {
		l, _, err := framing.Server(t.Context(), a)
		if err == nil {
			err = l.Welcome(framing.Welcome{}, framing.Handler{})
		}
		if err != nil {
			t.Error(err)
		}
		made <- l
	}()
	remote, _, err := framing.Client(t.Context(), b, someHello, framing.Handler{Nodes: func(n framing.Nodes) { told <- n }})
	relay = <-made
	if err != nil {
		t.Fatal(err)
	}
	return relay, remote, told
}

// What a relay tells of its nodes arrives, in its order, and once for each change.
func TestNodesArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, told := telling(t)
		defer relay.Close()
		defer remote.Close()
		full := framing.Nodes{Own: strings.Repeat("x", 63)}
		for i := range framing.MaxNodes {
			full.List = append(full.List, framing.Node{Name: fmt.Sprintf("%063d", i), Address: strings.Repeat("a", 255) + ":12345",
				Region: strings.Repeat("ä", 31), Weight: 65535, Load: 65535})
		}
		for _, n := range []framing.Nodes{someNodes, full, {}, {Own: "alone"}} {
			if err := n.Check(); err != nil {
				t.Fatal(err)
			}
			if !relay.TellNodes(n) {
				t.Error("no room for NODES")
			}
			if got := <-told; !reflect.DeepEqual(got, n) {
				t.Errorf("told %+v, want %+v", got, n)
			}
		}
		up(t, relay, remote)
	})
}

// What a relay tells as it lets a remote in comes before its answers, however soon the
// remote asks: so a remote that has its names knows on which node.
func TestNodesComeBeforeTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		defer b.Close()
		p := &peer{t, b}
		go b.Write(cat(helloWith(4, 0), rec(claim, str8("x"), str16(""), []byte{0}, str16(""), u16(0), str8(""), u16(0))))
		l, _, err := framing.Server(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go l.Welcome(framing.Welcome{}, framing.Handler{
			Welcomed: func() {
				time.Sleep(time.Second)
				l.TellNodes(someNodes)
			},
			Claim: func(context.Context, framing.Claim) (framing.Claimed, error) { return framing.Claimed{}, nil },
		})
		for _, want := range []byte{welcome, nodes, claimed} {
			p.expect(want)
		}
	})
}

// A remote of an older minor version hears nothing of nodes, and one to which a relay
// of an older minor version sends NODES ends the link.
func TestNodesAreOfMinorVersion4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for minor := range byte(4) {
			l, p := handMade{minor: minor}.remote(t)
			if !l.TellNodes(someNodes) {
				t.Error("no room")
			}
			l.GoAway(overContext(), framing.GoAway{})
			p.expect(goAway)
			r, q := handMade{minor: minor}.relay(t)
			q.discard()
			q.send(rec(nodes, str8("a"), str16("")))
			if _, err := wait(t, r); !errors.Is(err, framing.ErrProtocol) {
				t.Errorf("minor version %d: %v", minor, err)
			}
		}
		r, q := handMade{minor: 4}.relay(t)
		q.discard()
		q.send(rec(nodes, str8("a"), str16(string(nodeByHand("a"))), []byte("later")))
		up(t, r)
		relay, p := handMade{minor: 4}.remote(t)
		p.discard()
		p.send(rec(nodes, str8("a"), str16("")))
		if _, err := wait(t, relay); !errors.Is(err, framing.ErrProtocol) {
			t.Errorf("a remote that tells of nodes: %v", err)
		}
	})
}

// NODES beyond its bounds ends the link.
func TestNodesBeyondItsBoundsEndsLink(t *testing.T) {
	many := strings.Builder{}
	for i := range framing.MaxNodes + 1 {
		many.Write(nodeByHand(fmt.Sprint(i)))
	}
	entry := func(name, address, region string) []byte {
		p := cat(str8(name), str16(address), str8(region), u16(1), u16(1))
		return rec(nodes, str8("a"), str16(string(cat(u16(len(p)), p))))
	}
	for name, record := range map[string][]byte{
		"too many":        rec(nodes, str8("a"), str16(many.String())),
		"twice":           rec(nodes, str8("a"), str16(string(cat(nodeByHand("a"), nodeByHand("a"))))),
		"no name":         rec(nodes, str8("a"), str16(string(nodeByHand("")))),
		"long own name":   rec(nodes, str8(strings.Repeat("a", 64)), str16("")),
		"long name":       entry(strings.Repeat("a", 64), "x:1", ""),
		"long address":    entry("a", strings.Repeat("a", 262), ""),
		"long region":     entry("a", "x:1", strings.Repeat("a", 64)),
		"escape sequence": entry("a\x1b[31m", "x:1", ""),
		"no UTF-8":        entry("a", "x:1", "\xff"),
		"cut entry":       rec(nodes, str8("a"), str16(string(nodeByHand("a")[:9]))),
		"short entry":     rec(nodes, str8("a"), str16("\x00\x02\x01a")),
		"too long":        rec(nodes, make([]byte, 32<<10+1)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := handMade{minor: 4, handler: framing.Handler{Nodes: func(n framing.Nodes) { t.Errorf("told %+v", n) }}}.relay(t)
				p.discard()
				p.send(record)
				if _, err := wait(t, l); !errors.Is(err, framing.ErrProtocol) {
					t.Errorf("the link ended with %v", err)
				}
			})
		})
	}
}

// A relay that tells of nodes again and again is a flood; one that does so each second
// is none.
func TestFloodOfNodesEndsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := handMade{minor: 4}.relay(t)
		p.discard()
		record := rec(nodes, str8("a"), str16(""))
		for range 120 {
			p.send(record)
			time.Sleep(time.Second)
		}
		up(t, l)
		go p.conn.Write(cat(times(85, record)(0)))
		if _, err := wait(t, l); !errors.Is(err, framing.ErrProtocol) || !strings.Contains(err.Error(), "flood") {
			t.Errorf("the link ended with %v", err)
		}
	})
}

// A remote that reads nothing does not make the relay keep what it tells, and its link
// is not ended for that.
func TestNodesForRemoteThatReadsNothingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := handMade{minor: 4, buffer: 512}.remote(t)
		told := 0
		for told < 10_000 && l.TellNodes(someNodes) {
			told++
		}
		if told == 0 || told == 10_000 {
			t.Errorf("room for %d", told)
		}
		up(t, l)
	})
}

// overContext is a context that has ended.
func overContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
