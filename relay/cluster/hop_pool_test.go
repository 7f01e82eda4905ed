package cluster

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/relay"
)

// A farEnd is another node in memory, which takes visitors as the test says.
type farEnd struct {
	t      *testing.T
	server tls.Config
	client tls.Config
	pools  *hopPools
	hops   *hopServer

	mu     sync.Mutex
	dials  int
	broken error // of dialling
	late   chan struct{}
	conns  []*memconn.Conn // the ends of the node that dials
	wg     sync.WaitGroup
}

func newFarEnd(t *testing.T, serve func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error) *farEnd {
	ca := testca.New(t)
	f := &farEnd{t: t, pools: &hopPools{}, hops: &hopServer{serve: serve}}
	f.server = tls.Config{Certificates: []tls.Certificate{ca.Issue("node")}, NextProtos: []string{ProtocolHop}, MinVersion: tls.VersionTLS13}
	f.client = tls.Config{RootCAs: ca.Pool(), ServerName: "node", NextProtos: []string{ProtocolHop}, Time: time.Now}
	f.pools.dial = f.dial
	t.Cleanup(func() {
		f.pools.end()
		f.hops.end()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *farEnd) dial(ctx context.Context, _ string) (*tls.Conn, error) {
	f.mu.Lock()
	f.dials++
	err, late := f.broken, f.late
	f.mu.Unlock()
	if late != nil {
		select {
		case <-late:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	near, far := memconn.Pipe(0)
	f.mu.Lock()
	f.conns = append(f.conns, near)
	hops := f.hops
	f.mu.Unlock()
	f.wg.Go(func() {
		tc := tls.Server(&framing.TLSRecordConn{Conn: far}, &f.server)
		if tc.Handshake() == nil {
			hops.serveConn(machine{}, tc)
		} else {
			far.Close()
		}
	})
	tc := tls.Client(&framing.TLSRecordConn{Conn: near}, &f.client)
	if err := tc.HandshakeContext(ctx); err != nil {
		near.Close()
		return nil, err
	}
	return tc, nil
}

// serves is what the node does with visitors of connections that are dialled from now on.
func (f *farEnd) serves(serve func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hops = &hopServer{serve: serve}
}

func (f *farEnd) dialled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

// hop takes a visitor to the node.
func (f *farEnd) hop() (duplex.Conn, error) {
	c, host, err := f.pools.hop(f.t.Context(), "node", someHop)
	if err == nil && !reflect.DeepEqual(host, someHost) {
		f.t.Errorf("the remote is %+v, want %+v", host, someHost)
	}
	return c, err
}

var someHost = relay.Host{Claimed: relay.Claimed{Key: bytes.Repeat([]byte{7}, ed25519.PublicKeySize), Run: framing.Run{Number: 1 << 40, ID: [16]byte{1, 15: 2}}, Replica: true}, Takes: true}

var someHop = relay.Hop{Header: framing.Header{Name: "a.relay.test", ID: [16]byte{1},
	Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:443")}, First: []byte("hello")}

// echoes takes a visitor and sends back all that it says, its first bytes first.
func echoes(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error {
	if err := yes(someHost); err != nil {
		return err
	}
	c.SetDeadline(time.Time{})
	c.Write(h.First)
	io.Copy(c, c)
	c.Close()
	return nil
}

// serves checks that a visitor gets its bytes back over a hop.
func serves(t *testing.T, c duplex.Conn, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Time{})
	c.Write([]byte(" more"))
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello more" {
		t.Errorf("got %q, %v", b, err)
	}
	c.Close()
}

// count checks how many connections are spare, and how many were dialled unless that is
// less than 0, once what goes on is done.
func (f *farEnd) count(what string, spare, dialled int) {
	f.t.Helper()
	synctest.Wait()
	if n, d := f.pools.count(), f.dialled(); n != spare || d != dialled && dialled >= 0 {
		f.t.Errorf("%s: %d are spare and %d were dialled, want %d and %d", what, n, d, spare, dialled)
	}
}

// Some connections are dialled before a visitor comes: the more, the more visitors come
// at once, and fewer again in time.
func TestSpareConnectionsFollowTheVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd(t, echoes)
		f.pools.up("node")
		f.count("up", minSpare, minSpare)
		c, err := f.hop()
		serves(t, c, err)
		f.count("after a visitor", minSpare, minSpare+1)
		late, held := make(chan struct{}), make(chan duplex.Conn)
		f.mu.Lock()
		f.late = late
		f.mu.Unlock()
		const atOnce = 4 * minSpare
		for range atOnce {
			go func() {
				c, err := f.hop()
				if err != nil {
					t.Error(err)
				}
				held <- c
			}()
		}
		synctest.Wait() // all that were spare are taken before one more is there
		close(late)
		var all []duplex.Conn
		for range atOnce {
			all = append(all, <-held)
		}
		synctest.Wait()
		many := f.pools.count()
		if many <= minSpare || many > maxSpare {
			t.Errorf("%d are spare after many visitors", many)
		}
		for _, c := range all {
			c.Close()
		}
		time.Sleep(time.Duration(many) * spareTime)
		f.count("in time", minSpare, -1)
		f.pools.down("node")
		synctest.Wait()
		f.count("down", 0, -1)
		if n := f.hops.count(); n != 0 {
			t.Errorf("the node still has %d", n)
		}
	})
}

// A spare connection that the other node has closed is not used; one that it closes as
// the visitor comes costs the visitor another try.
func TestVisitorIsNotLostWithASpareConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd(t, echoes)
		f.pools.up("node")
		synctest.Wait()
		f.hops.end() // as an old process does
		f.serves(echoes)
		c, err := f.hop()
		serves(t, c, err)
		if n := f.dialled(); n < minSpare+1 {
			t.Errorf("%d were dialled", n)
		}

		var died atomic.Bool
		f.serves(func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error {
			if !died.Swap(true) {
				return errors.New("it dies")
			}
			return echoes(c, h, yes)
		})
		f.pools.down("node")
		f.pools.up("node")
		synctest.Wait()
		c, err = f.hop()
		serves(t, c, err)
		f.pools.end()
	})
}

// A node that says no, or refuses, has not used the connection up.
func TestConnectionIsSpareAgainAfterANo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer error
		f := newFarEnd(t, func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error {
			if answer != nil {
				return answer
			}
			return echoes(c, h, yes)
		})
		f.pools.up("node")
		synctest.Wait()
		f.mu.Lock()
		f.broken = errors.New("no other one is dialled")
		f.mu.Unlock()
		for range 10 {
			answer = relay.ErrNotThere
			if _, err := f.hop(); err != answer {
				t.Errorf("got %v", err)
			}
			answer = &relay.HopRefused{Alert: 49, Why: "rule"}
			var refused *relay.HopRefused
			if _, err := f.hop(); !errors.As(err, &refused) || *refused != *answer.(*relay.HopRefused) {
				t.Errorf("got %v", err)
			}
		}
		answer = nil
		c, err := f.hop()
		serves(t, c, err)
	})
}

// A visitor is not kept by a node that goes, by one that does not answer, nor by one
// that cannot be dialled.
func TestVisitorIsNotKeptByANodeThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 1)
		f := newFarEnd(t, func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error {
			asked <- struct{}{}
			b := make([]byte, 1)
			_, err := c.Read(b) // nothing comes before an answer
			return err
		})
		f.pools.up("node")
		result := make(chan error, 1)
		go func() { _, err := f.hop(); result <- err }()
		<-asked
		f.pools.down("node")
		if err := <-result; !errors.Is(err, errNodeDown) {
			t.Errorf("the node goes: %v", err)
		}

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, io.ErrNoProgress)
		defer cancel()
		if _, _, err := f.pools.hop(ctx, "node", someHop); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("it does not answer: %v", err)
		}

		f.mu.Lock()
		f.late = make(chan struct{})
		f.mu.Unlock()
		f.pools.down("node")
		start := time.Now()
		if _, err := f.hop(); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != hopDialTimeout {
			t.Errorf("it is not reached: %v after %v", err, time.Since(start))
		}
		f.pools.end()
		if _, err := f.hop(); !errors.Is(err, errNodeDown) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// So many connections are dialled at once to one node, and no more; spare ones that
// cannot be dialled are tried again after a pause.
func TestDialsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd(t, echoes)
		f.late = make(chan struct{})
		results := make(chan error, 2*maxDials)
		for range 2 * maxDials {
			go func() { _, err := f.hop(); results <- err }()
		}
		f.count("while none is reached", 0, maxDials)
		f.mu.Lock()
		f.late, f.broken = nil, errors.New("refused")
		f.mu.Unlock()
		for range 2 * maxDials {
			if err := <-results; err == nil {
				t.Error("a visitor was taken")
			}
		}
		f.pools.down("node")
		f.pools.up("node")
		synctest.Wait()
		before := f.dialled()
		time.Sleep(10*redialTime + time.Millisecond)
		if n := f.dialled() - before; n < 10 || n > 12*maxSpare {
			t.Errorf("%d tries in %v", n, 10*redialTime)
		}
		f.mu.Lock()
		f.broken = nil
		f.mu.Unlock()
		time.Sleep(redialTime)
		f.count("then", minSpare, -1)
	})
}

// A connection without a HOP is closed after a while, and one on which it does not come
// whole; so is one too many of a node.
func TestConnectionsWithoutAVisitorAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarEnd(t, echoes)
		idle, err := f.dial(t.Context(), "node")
		if err != nil {
			t.Fatal(err)
		}
		half, err := f.dial(t.Context(), "node")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := encodeHop(&someHop)
		half.Write(b[:len(b)-1])
		start := time.Now()
		half.Read(make([]byte, 1))
		if took := time.Since(start); took != hopTransfer {
			t.Errorf("half a HOP is kept for %v", took)
		}
		idle.Read(make([]byte, 1))
		if took := time.Since(start); took != hopIdle {
			t.Errorf("a connection without HOP is kept for %v", took)
		}
		var all []duplex.Conn
		for range maxHopsWaiting {
			c, _ := memconn.Pipe(0)
			if err := f.hops.wait(machine{}, c); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		if c, err := f.dial(t.Context(), "node"); err == nil {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("one too many is kept")
			}
		}
		if err := f.hops.wait(machine{1}, all[0]); err != nil {
			t.Errorf("one of another node: %v", err)
		}
		f.hops.begun(machine{1}, all[0])
		f.hops.begun(machine{}, all[0])
		if n := f.hops.count(); n != maxHopsWaiting-1 {
			t.Errorf("then %d wait", n)
		}
	})
}

// What the wire has is what was sent, whatever its size, and no more than may be is taken.
func TestHopOnTheWire(t *testing.T) {
	h := someHop
	h.Validation, h.Kind, h.First = true, framing.KindTCP, make([]byte, relay.MaxFirst)
	b, err := encodeHop(&h)
	if err != nil {
		t.Fatal(err)
	}
	m, n, err := readHead(strings.NewReader(string(b)))
	if err != nil || m != msgHop || n != len(b)-hopHead || n > maxHop {
		t.Fatalf("head %d %d, %v", m, n, err)
	}
	got, err := parseHop(b[hopHead:])
	if err != nil || got.Header != h.Header || !got.Validation || len(got.First) != len(h.First) {
		t.Errorf("got %+v, %v", got.Header, err)
	}
	h.First = make([]byte, relay.MaxFirst+1)
	if _, err := encodeHop(&h); err == nil {
		t.Error("more first bytes than may be")
	}
	long := &relay.HopRefused{Alert: 80, Why: strings.Repeat("x", 1000)}
	var refused *relay.HopRefused
	if _, err := readAnswer(strings.NewReader(string(encodeNo(long)))); !errors.As(err, &refused) || len(refused.Why) != maxAnswer-1 {
		t.Errorf("a long reason: %v", err)
	}
}

// FuzzHop feeds a node with whatever another one may send: it ends, and what it takes for
// a visitor is one that could be sent.
func FuzzHop(f *testing.F) {
	b, err := encodeHop(&someHop)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[hopHead:])
	offering := someHop
	offering.Lane = framing.LaneOffer{Node: "a", Token: framing.LaneToken{1, 31: 2}}
	if b, err = encodeHop(&offering); err != nil {
		f.Fatal(err)
	}
	f.Add(b[hopHead:])
	f.Add(encodeYes(someHost))
	f.Add(encodeNo(&relay.HopRefused{Alert: 80, Why: "limit"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHop(b); err == nil {
			again, err := encodeHop(&h)
			if err != nil {
				t.Fatalf("%+v: %v", h, err)
			}
			if same, err := parseHop(again[hopHead:]); err != nil || same.Header != h.Header || string(same.First) != string(h.First) {
				t.Fatalf("%+v comes back as %+v, %v", h, same, err)
			}
		}
		host, err := readAnswer(strings.NewReader(string(b)))
		if err == nil && (len(b) < hopHead || b[0] != byte(msgYes)) {
			t.Fatalf("%x is a yes", b)
		}
		if err == nil {
			if same, err := readAnswer(strings.NewReader(string(encodeYes(host)))); err != nil || !reflect.DeepEqual(same, host) {
				t.Fatalf("%+v comes back as %+v, %v", host, same, err)
			}
		}
	})
}
