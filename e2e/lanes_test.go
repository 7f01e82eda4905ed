package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/internal/testca"
	"keystay/relay"
	"keystay/remote"
)

// laneAfter makes a visitor's connection bulk in these tests, in bytes.
const laneAfter = 100_000

// bulk answers each length that it is sent with as many bytes and their hash.
func bulk(c *tls.Conn) {
	defer c.Close()
	for {
		var n int64
		if binary.Read(c, binary.BigEndian, &n) != nil {
			return
		}
		sum := sha256.New()
		piece := make([]byte, 16<<10)
		for n > 0 {
			k := min(n, int64(len(piece)))
			for i := range piece[:k] {
				piece[i] = byte(n) + byte(i)
			}
			sum.Write(piece[:k])
			if _, err := c.Write(piece[:k]); err != nil {
				return
			}
			n -= k
		}
		c.Write(sum.Sum(nil))
	}
}

// fetch asks bulk for n bytes and checks the hash.
func fetch(c *tls.Conn, n int64) error {
	if err := binary.Write(c, binary.BigEndian, n); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, c, n); err != nil {
		return err
	}
	hash := make([]byte, sha256.Size)
	if _, err := io.ReadFull(c, hash); err != nil {
		return err
	}
	if string(hash) != string(sum.Sum(nil)) {
		return errors.New("wrong hash")
	}
	return nil
}

// mustFetch is fetch in a test.
func mustFetch(t testing.TB, c *tls.Conn, n int64) {
	t.Helper()
	if err := fetch(c, n); err != nil {
		t.Fatal(err)
	}
}

// A laneWorld is a relay with a remote that serves bulk, through a path that
// can be cut.
type laneWorld struct {
	*world.Relay
	t     *testing.T
	ln    *remote.Listener
	path  *world.Proxy
	name  string
	admin string
	links []*net.TCPConn // both ends of the remote's two links, on the path
}

func newLaneWorld(t *testing.T, set func(*relay.Server), c remote.Config) *laneWorld {
	w := &laneWorld{Relay: world.StartRelayWith(t, testca.New(t), set), t: t, name: "lane." + pathZone}
	w.path = world.StartProxy(t, w.Addr)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.admin = ln.Addr().String()
	go w.Server.ServeAdmin(ln, func() error { return nil }) // ends with the relay
	c.LaneAfter = laneAfter
	w.ln = w.ServeWith(c, w.name, w.path.Addr, bulk)
	world.Eventually(t, world.Patience, "both links are up", func() bool { return len(w.path.Conns()) == 4 })
	w.links = w.path.Conns()
	return w
}

// lanes is how many lanes the relay has bound so far.
func (w *laneWorld) lanes() (n int) {
	w.t.Helper()
	res, err := http.Get("http://" + w.admin + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "keystay_lanes_total %d", &n)
	}
	return n
}

// bulky returns a visitor whose bytes are on a lane.
func (w *laneWorld) bulky() (*tls.Conn, *net.TCPConn) {
	w.t.Helper()
	c, raw, err := w.Visit(w.name, "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { raw.Close() })
	before := w.lanes()
	mustFetch(w.t, c, 2*laneAfter)
	world.Eventually(w.t, world.Patience, "the visitor is on a lane", func() bool { return w.lanes() > before })
	mustFetch(w.t, c, 2*laneAfter)
	return c, raw
}

// TestLaneOutlivesItsLink has a visitor fetch much, and sees that its bytes leave the links:
// when these are cut the visitor's connection goes on, and new visitors come.
func TestLaneOutlivesItsLink(t *testing.T) {
	t.Parallel()
	w := newLaneWorld(t, nil, remote.Config{})
	c, _ := w.bulky()
	world.CutConns(w.links)
	world.Eventually(t, world.Patience, "the links are gone", func() bool {
		return !slices.ContainsFunc(w.path.Conns(), func(c *net.TCPConn) bool { return slices.Contains(w.links, c) })
	})
	mustFetch(t, c, 10*laneAfter)
	c2, _ := w.bulky()
	mustFetch(t, c2, laneAfter)
	mustFetch(t, c, laneAfter)
	w.path.Cut() // the lanes, too
	if err := fetch(c, laneAfter); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a visitor whose lane was cut sees %v, want a reset", err)
	}
}

// connectProxy starts an HTTP proxy that ends with the test, and returns what
// chooses it for everything.
func connectProxy(t *testing.T) func(*http.Request) (*url.URL, error) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			out.Close()
			return
		}
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		duplex.Copy(in.(*net.TCPConn), out.(*net.TCPConn), duplex.Options{})
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return http.ProxyURL(u)
}

// Either side can do without lanes, and so can the path.
func TestLanesAreOptional(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server func(*relay.Server)
		remote remote.Config
	}{
		"relay":  {server: func(s *relay.Server) { s.NoLanes = true }},
		"remote": {remote: remote.Config{NoLanes: true}},
		"wss":    {remote: remote.Config{Transport: remote.TransportWSS}},
		"proxy":  {remote: remote.Config{Proxy: connectProxy(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLaneWorld(t, c.server, c.remote)
			v, _, err := w.Visit(w.name, "")
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			mustFetch(t, v, 30*laneAfter)
			mustFetch(t, v, laneAfter)
			if n := w.lanes(); n > 0 || len(w.path.Conns()) != 4 {
				t.Errorf("%d lanes were bound, and there are %d ends of connections, want 4", n, len(w.path.Conns()))
			}
		})
	}
}

// On a path that lets no lane through, or cuts lanes soon after, visitors stay
// on the links once two lanes have failed.
func TestLanesThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after   int64 // bytes of the remote's on a lane, its ClientHello and all
		visitor func(t *testing.T, w *laneWorld)
	}{
		"at once": {1, func(t *testing.T, w *laneWorld) {
			v, _, err := w.Visit(w.name, "")
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			mustFetch(t, v, 5*laneAfter) // it notices nothing
		}},
		"after the move": {5 * laneAfter, func(t *testing.T, w *laneWorld) {
			v, _, err := w.Visit(w.name, "")
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for range 100 {
				if err = fetch(v, laneAfter); err != nil {
					break
				}
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a visitor whose lane is lost sees %v, want a reset", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log world.Transcript
			w := newLaneWorld(t, nil, remote.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			w.path.NoLanes.Store(c.after)
			for tries := 0; log.Count("connections for bulk fail") == 0; tries++ {
				if tries == 10 {
					t.Fatal("lanes are tried for ever")
				}
				c.visitor(t, w)
				world.Eventually(t, world.Patience, "the failure is noticed", func() bool {
					return log.Count("a lane failed")+log.Count("connections for bulk fail") > tries
				})
			}
			bound := w.lanes()
			v, _, err := w.Visit(w.name, "")
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			mustFetch(t, v, 30*laneAfter)
			if w.lanes() > bound {
				t.Error("another lane was tried")
			}
		})
	}
}

// A visitor that resets, and one that leaves in good order, end their lanes.
func TestVisitorsEndTheirLanes(t *testing.T) {
	t.Parallel()
	w := newLaneWorld(t, nil, remote.Config{})
	for name, end := range map[string]func(*tls.Conn, *net.TCPConn){
		"reset": func(_ *tls.Conn, raw *net.TCPConn) { socket.Abort(raw) },
		"close": func(c *tls.Conn, _ *net.TCPConn) { c.Close() },
	} {
		for range 4 { // more than would count as failures
			c, raw := w.bulky()
			had := w.path.Conns() // the links, the lane, and spare lanes that nobody ends
			end(c, raw)
			world.Eventually(t, world.Patience, name+" ends the lane", func() bool {
				have := w.path.Conns()
				return slices.ContainsFunc(had, func(c *net.TCPConn) bool { return !slices.Contains(have, c) })
			})
		}
	}
	if w.Log.Count("connections for bulk fail") > 0 {
		t.Error("a visitor's reset counted as a failure of lanes")
	}
}

// Who stops waits for visitors on lanes too, those whose link is lost as well.
func TestDrainOfLanes(t *testing.T) {
	t.Parallel()
	for who, shutdown := range map[string]func(*laneWorld, context.Context) error{
		"relay":  func(w *laneWorld, ctx context.Context) error { return w.Server.Shutdown(ctx) },
		"remote": func(w *laneWorld, ctx context.Context) error { return w.ln.Shutdown(ctx) },
	} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/link lost %v", who, lost), func(t *testing.T) {
				t.Parallel()
				w := newLaneWorld(t, nil, remote.Config{})
				c, _ := w.bulky()
				if lost {
					world.CutConns(w.links)
					mustFetch(t, c, laneAfter)
				}
				ctx, cancel := context.WithTimeout(t.Context(), world.Patience)
				defer cancel()
				stopped := make(chan error, 1)
				go func() { stopped <- shutdown(w, ctx) }()
				for range 20 {
					mustFetch(t, c, laneAfter)
					select {
					case err := <-stopped:
						t.Fatalf("it did not wait: %v", err)
					case <-time.After(10 * time.Millisecond):
					}
				}
				c.Close()
				if err := <-stopped; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A newer run of the same identity takes the name over, lanes and all.
func TestNewerRunCutsTheOldOnesLanes(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	w := newLaneWorld(t, nil, remote.Config{StateDir: first})
	c, _ := w.bulky()
	if err := os.CopyFS(second, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	world.CutConns(w.links) // the lane outlives them
	mustFetch(t, c, laneAfter)
	w.ServeWith(remote.Config{StateDir: second}, w.name, "", bulk)
	if err := fetch(c, laneAfter); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a visitor of the replaced run sees %v, want a reset", err)
	}
}
