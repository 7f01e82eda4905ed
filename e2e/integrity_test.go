package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/remote"
)

// A tally counts transfers. In one, visitor and device both send the length of a
// body, the body and its hash, and then the end.
type tally struct {
	whole, broken atomic.Int64
	bytes         atomic.Int64
}

// send sends n random bytes, with their length in front and their hash behind.
func send(w io.Writer, n int64, seed uint64) error {
	sum := sha256.New()
	src := rand.NewChaCha8(sha256.Sum256(binary.BigEndian.AppendUint64(nil, seed)))
	if err := binary.Write(w, binary.BigEndian, n); err != nil {
		return err
	}
	if _, err := io.CopyN(io.MultiWriter(w, sum), src, n); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// errCorrupt is the error of a transfer that looks complete and is not right.
var errCorrupt = errors.New("corrupt")

// receive reads what send sends, up to the end. An end in good order before
// all has come is errCorrupt, as is a wrong hash.
func receive(r io.Reader) (n int64, err error) {
	defer func() {
		if err == io.EOF || err == io.ErrUnexpectedEOF { // as they are: not those of strict
			err = fmt.Errorf("%w: ended early, in good order", errCorrupt)
		}
	}()
	r = &strict{r: r}
	if err := binary.Read(r, binary.BigEndian, &n); err != nil {
		return 0, err
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, r, n); err != nil {
		return n, err
	}
	var hash [sha256.Size]byte
	if _, err := io.ReadFull(r, hash[:]); err != nil {
		return n, err
	}
	if !bytes.Equal(hash[:], sum.Sum(nil)) {
		return n, fmt.Errorf("%w: wrong hash of %d bytes", errCorrupt, n)
	}
	if k, err := r.Read(make([]byte, 1)); k > 0 || err != io.EOF {
		return n, fmt.Errorf("instead of the end: %d bytes, %w", k, err)
	}
	return n, nil
}

// strict makes the errors of a connection different from those that package io
// makes of an early end.
type strict struct{ r io.Reader }

func (s *strict) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("connection: %w", err)
	}
	return n, err
}

// exchange sends and receives on a connection at once, ends its side, and
// closes it.
func (y *tally) exchange(c *tls.Conn, n int64, seed uint64) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * world.Patience))
	sent := make(chan error, 1)
	go func() {
		err := send(c, n, seed)
		if err == nil {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	got, err := receive(c)
	if err != nil {
		c.NetConn().Close()
	}
	// A reset is told once: if Write has heard of it, Read says end of stream.
	serr := <-sent
	if errors.Is(err, errCorrupt) && serr == nil {
		return err
	}
	if errors.Join(err, serr) != nil {
		y.broken.Add(1)
		return nil
	}
	y.whole.Add(1)
	y.bytes.Add(got + n)
	return nil
}

// size is a random length: often few bytes, sometimes up to 2 MiB.
func size() int64 { return rand.Int64N(1 << (4 + rand.IntN(18))) }

// TestWhatLooksCompleteIsAndNothingIsLeft moves random bodies both ways over bad paths, between visitor
// and relay and between relay and remote, on streams and on lanes. Whatever looks
// complete must be so, and nothing must be left: no memory, goroutine or
// descriptor. These are the whole process's, so nothing runs beside it.
func TestWhatLooksCompleteIsAndNothingIsLeft(t *testing.T) {
	length, workers := 4*time.Second, 16
	if soaking() {
		length = 20 * time.Minute
	}
	r := world.StartRelay(t)
	link := world.StartProxy(t, r.Addr)
	front := world.StartProxy(t, r.Addr)
	kinds := []struct {
		name            string
		config          remote.Config
		device, visitor tally
	}{
		{name: "streams." + pathZone, config: remote.Config{NoLanes: true}},
		{name: "lanes." + pathZone, config: remote.Config{LaneAfter: 1 << 14}},
	}
	for i := range kinds {
		k := &kinds[i]
		r.ServeWith(k.config, k.name, link.Addr, func(c *tls.Conn) {
			if err := k.device.exchange(c, size(), rand.Uint64()); err != nil {
				t.Errorf("at the device of %s: %v", k.name, err)
			}
		})
	}
	// A batch takes d, and longer where each worker has not made so many by then.
	batch := func(d time.Duration, least int) {
		end := time.Now().Add(d)
		var wg sync.WaitGroup
		for i := range workers {
			k := &kinds[i%len(kinds)]
			wg.Go(func() {
				for n := 0; (n < least || time.Now().Before(end)) && !t.Failed(); n++ {
					c, _, err := r.Visit(k.name, front.Addr)
					if err != nil {
						k.visitor.broken.Add(1)
						continue
					}
					if err := k.visitor.exchange(c, size(), rand.Uint64()); err != nil {
						t.Errorf("at the visitor of %s: %v", k.name, err)
					}
				}
			})
		}
		wg.Wait()
	}
	// A good path breaks nothing.
	batch(length/8, 1)
	for i := range kinds {
		if n := kinds[i].visitor.broken.Load() + kinds[i].device.broken.Load(); n > 0 {
			t.Errorf("%d transfers of %s broke on a good path", n, kinds[i].name)
		}
	}
	before := settledUsage(t)
	for _, bad := range []struct {
		slice, reset int64
		delay        time.Duration
	}{
		{slice: 100},
		{slice: 20_000, delay: 20 * time.Millisecond},
		{slice: 30_000, reset: 1 << 17},
		{slice: 2_000, delay: 5 * time.Millisecond, reset: 2 << 20},
	} {
		for _, p := range []*world.Proxy{front, link} {
			p.Slice.Store(bad.slice)
			p.Delay.Store(int64(bad.delay))
		}
		front.Reset.Store(bad.reset)
		link.Reset.Store(bad.reset * 8)
		least := 1
		if bad.reset > 0 {
			least = 5 // some are sure to break
		}
		batch(length/5, least)
	}
	for _, p := range []*world.Proxy{front, link} {
		p.Slice.Store(0)
		p.Delay.Store(0)
		p.Reset.Store(0)
	}
	batch(length/20, 1)
	// Lanes are kept for half a minute, up to four for each of the two links;
	// each has four descriptors on this path.
	spare := usage{goroutines: 8 * 10, descriptors: 8 * 6}
	if soaking() {
		<-time.After(40 * time.Second)
		spare = usage{}
	}
	after := settledUsage(t)
	for i := range kinds {
		y := &kinds[i].visitor
		t.Logf("%s: %d transfers whole, %d broken, %d MiB", kinds[i].name, y.whole.Load(), y.broken.Load(), y.bytes.Load()>>20)
		if y.broken.Load() == 0 {
			t.Errorf("nothing of %s broke on a bad path: the test shows nothing", kinds[i].name)
		}
	}
	t.Logf("then %v, before %v", after, before)
	if after.goroutines > before.goroutines+10+spare.goroutines || after.descriptors > before.descriptors+5+spare.descriptors || after.heap > before.heap+16<<20 {
		t.Errorf("something is left: %v, before %v", after, before)
	}
}

// A usage is what a process holds.
type usage struct {
	goroutines, descriptors int
	heap                    uint64
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB", u.goroutines, u.descriptors, u.heap>>10)
}

// settledUsage is what this process holds once nothing is under way: a closed
// stream may linger for ten seconds.
func settledUsage(t *testing.T) usage {
	t.Helper()
	least := measure()
	for calm := 0; calm < 5; {
		<-time.After(100 * time.Millisecond)
		now := measure()
		calm++
		if now.goroutines < least.goroutines || now.descriptors < least.descriptors {
			calm = 0
			least = now
		}
	}
	runtime.GC()
	runtime.GC() // the second one empties the pools
	return measure()
}

func measure() (u usage) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.goroutines, u.heap = runtime.NumGoroutine(), m.HeapAlloc
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.descriptors = len(fds)
	}
	return u
}
