package e2e

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/framing"
)

// pour is a device that serves each visitor as its first byte says: 'w' is sent
// data for ever, others get back what they send.
func pour(c *tls.Conn) {
	defer c.Close()
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return
	}
	if first[0] == 'w' {
		writes(c)
		return
	}
	c.Write(first[:])
	io.Copy(c, c)
}

// TestSlowVisitorsHoldUpNobody has visitors of one name that never read, that send a byte a
// second, and that do not get beyond a part of their hello, or of the TLS
// handshake. Others of that name, and of another one, are served.
func TestSlowVisitorsHoldUpNobody(t *testing.T) {
	never, slow, half := 2000, 500, 200
	if world.RaceEnabled {
		never, slow, half = 200, 50, 50
	}
	r := world.StartRelay(t)
	r.Serve("slow."+pathZone, "", pour)
	r.Serve("calm."+pathZone, "", pour)
	before := [2][2]time.Duration{visits(t, r, "slow."+pathZone, nil), visits(t, r, "calm."+pathZone, nil)}
	idle := measure()

	var mu sync.Mutex
	var conns []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range never / 8 {
				c, raw, err := r.Visit("slow."+pathZone, "")
				if err != nil {
					t.Error(err)
					return
				}
				raw.SetReadBuffer(4096)
				c.SetDeadline(time.Time{})
				c.Write([]byte("w"))
				keep(raw)
			}
		})
	}
	wg.Wait()
	hello := recordedHello(t, r, "slow."+pathZone)
	for i := range half {
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			t.Fatal(err)
		}
		keep(c)
		c.Write(hello[:len(hello)-i%2*100]) // a whole one and no more, or a part
	}
	var bytewise []*tls.Conn
	for range slow {
		c, raw, err := r.Visit("slow."+pathZone, "")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Time{})
		keep(raw)
		bytewise = append(bytewise, c)
	}
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			for _, c := range bytewise {
				c.Write([]byte("x"))
			}
			select {
			case <-time.After(time.Second):
			case <-stop:
				return
			}
		}
	})
	after := [2][2]time.Duration{visits(t, r, "slow."+pathZone, nil), visits(t, r, "calm."+pathZone, nil)}
	c, _, err := r.Visit("slow."+pathZone, "") // and bulk goes too
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	go c.Write([]byte("w"))
	if _, err := io.ReadFull(c, make([]byte, 8<<20)); err != nil {
		t.Errorf("a download beside the slow visitors: %v", err)
	}
	bulk := time.Since(start)
	c.Close()
	t.Logf("visits of the same name: median %v, p99 %v, before %v, %v; of another: %v, %v, before %v, %v; 8 MiB in %v; heap %d MiB, before %d",
		after[0][0], after[0][1], before[0][0], before[0][1], after[1][0], after[1][1], before[1][0], before[1][1],
		bulk.Round(time.Millisecond), measure().heap>>20, idle.heap>>20)
	// That visits were served while all of these are here is the verdict: visits
	// fails otherwise. How fast they were is for the log.
	close(stop)
	wg.Wait()
	for _, c := range conns {
		c.Close()
	}
}

// A rogue is a remote by hand: a link that says what it likes after its CLAIM.
type rogue struct {
	t    *testing.T
	conn *tls.Conn
}

func startRogue(t *testing.T, r *world.Relay, name string) *rogue {
	t.Helper()
	c, err := tls.Dial("tcp", r.Addr, &tls.Config{ServerName: pathZone, RootCAs: r.CA.Pool(), NextProtos: []string{framing.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(world.Patience))
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cs := c.ConnectionState()
	var h framing.Hello
	if err := h.Sign(key, &cs, pathZone); err != nil {
		t.Fatal(err)
	}
	p := append([]byte{0, 0, 0, 0, 0}, h.Key...)
	p = append(append(p, h.Signature...), make([]byte, 8+16+1)...)
	g := &rogue{t, c}
	g.send(linkRecord(1, p...))
	g.send(linkRecord(4, append(append([]byte{byte(len(name))}, name...), 0, 0)...))
	for g.next() != 5 { // WELCOME, then CLAIMED
	}
	return g
}

func (g *rogue) send(b []byte) {
	if _, err := g.conn.Write(b); err != nil {
		g.t.Logf("the relay has ended the link in the middle of a write: %v", err)
	}
}

// next reads a record and returns its type, 0 at the end.
func (g *rogue) next() byte {
	var h [3]byte
	if _, err := io.ReadFull(g.conn, h[:]); err != nil {
		return 0
	}
	io.CopyN(io.Discard, g.conn, int64(binary.BigEndian.Uint16(h[1:])))
	return h[0]
}

func linkRecord(t byte, payload ...byte) []byte {
	return append([]byte{t, byte(len(payload) >> 8), byte(len(payload))}, payload...)
}

// smuxFrame is a frame of smux in a MUX record.
func smuxFrame(cmd byte, id uint32, payload ...byte) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{2, cmd}, uint16(len(payload)))
	return linkRecord(0x21, append(binary.LittleEndian.AppendUint32(b, id), payload...)...)
}

func many(n int, b []byte) []byte {
	var all []byte
	for range n {
		all = append(all, b...)
	}
	return all
}

// TestHostileRemoteIsDroppedAndNamed has remotes break the protocol in each way that is not a
// slip: they are dropped, and the log says why and how soon.
func TestHostileRemoteIsDroppedAndNamed(t *testing.T) {
	t.Parallel()
	r := world.StartRelay(t)
	r.Serve("calm."+pathZone, "", world.Mirror)
	for _, c := range []struct {
		name, reason string
		bytes        []byte
	}{
		{"opens a stream", "the remote opened a stream", smuxFrame(0, 2)},
		{"floods with PING", "flood", many(1000, linkRecord(0x10, make([]byte, 8)...))},
		{"floods with CLAIM", "claims wait for an answer|claims were denied|flood", many(10000, linkRecord(4, 1, 'x', 0, 0))},
		{"floods with GOAWAY", "flood", many(1000, linkRecord(0x12, make([]byte, 8)...))},
		{"floods with CREDIT", "flood", many(1000, smuxFrame(2, 3, linkRecord(5, 0, 0, 0, 1)...))},
		{"grants too much", "of credit", smuxFrame(2, 3, linkRecord(5, 255, 255, 255, 255)...)},
		{"overruns its credit", "beyond the credit", many(3000, smuxFrame(2, 3, linkRecord(2, make([]byte, 16000)...)...))},
		{"breaks a frame", "smux", linkRecord(0x21, []byte{9, 9, 9, 9, 9, 9, 9, 9}...)},
		{"breaks a record", "unknown stream record", smuxFrame(2, 3, linkRecord(0x7f)...)},
		{"sends noise", "protocol", many(100, []byte("GET / HTTP/1.1\r\n"))},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			name := strings.ReplaceAll(strings.ToLower(c.name), " ", "-") + "." + pathZone
			g := startRogue(t, r, name)
			// A visitor, so that there is a session with a stream.
			v, err := tlsHello(t, r, name)
			if err != nil {
				t.Fatal(err)
			}
			for at := g.next(); at != 0x21; at = g.next() {
				if at == 0 {
					t.Fatal("the link ended too early")
				}
			}
			logged := r.Log.Count("remote disconnected")
			start := time.Now()
			go g.send(c.bytes)
			go func() {
				for g.next() != 0 {
				}
			}()
			world.Eventually(t, world.Patience, "the remote is dropped", func() bool { return r.Log.Count("remote disconnected") > logged })
			t.Logf("dropped after %v", time.Since(start).Round(time.Millisecond))
			if last := r.Log.Last("remote disconnected"); !slices.ContainsFunc(strings.Split(c.reason, "|"), func(r string) bool { return strings.Contains(last, r) }) || !strings.Contains(last, "level=WARN") {
				t.Errorf("the log says %s, want a warning with %q", last, c.reason)
			}
			v.SetReadDeadline(time.Now().Add(world.Patience))
			b, err := io.ReadAll(v)
			if err == nil && len(b) == 0 { // an alert would tell
				t.Error("its visitor saw an end in good order")
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("its visitor was left waiting")
			}
			if err := visitOnce(r, "calm."+pathZone); err != nil {
				t.Errorf("a visitor of another name: %v", err)
			}
		})
	}
}

// tlsHello connects as a visitor that sends its hello.
func tlsHello(t *testing.T, r *world.Relay, name string) (net.Conn, error) {
	c, err := net.Dial("tcp", r.Addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	_, err = c.Write(recordedHello(t, r, name))
	return c, err
}
