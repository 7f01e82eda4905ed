package duplex_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
)

// inMemory starts a Copy in a synctest bubble. It returns the far ends and a
// function that waits for the result and how long it took since the start.
func inMemory(o duplex.Options, wrap func(duplex.Conn) duplex.Conn) (farA, farB *memconn.Conn, wait func() (duplex.Result, time.Duration)) {
	farA, a := memconn.Pipe(0)
	farB, b := memconn.Pipe(0)
	start := time.Now()
	result := make(chan duplex.Result)
	if wrap == nil {
		wrap = func(c duplex.Conn) duplex.Conn { return c }
	}
	go func() { result <- duplex.Copy(wrap(a), wrap(b), o) }()
	return farA, farB, func() (duplex.Result, time.Duration) {
		res := <-result
		return res, time.Since(start)
	}
}

// ends checks an error and a time.
func ends(t *testing.T, res duplex.Result, took time.Duration, want error, after time.Duration) {
	t.Helper()
	if !errors.Is(res.Err, want) || took != after {
		t.Errorf("ended with %v after %v, want %v after %v", res.Err, took, want, after)
	}
}

func TestIdleEndsBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{Idle: time.Minute, Linger: time.Second}, nil)
		time.Sleep(50 * time.Second)
		send(t, a, 1)
		time.Sleep(50 * time.Second)
		send(t, b, 1)
		res, took := wait()
		ends(t, res, took, duplex.ErrIdle, 160*time.Second)
		wasReset(t, a)
		wasReset(t, b)
	})
}

// wasReset checks that c was reset, whatever it had received.
func wasReset(t *testing.T, c net.Conn) {
	t.Helper()
	seesReset(t, c)
	c.Close()
}

func TestWithoutLimitsNothingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{}, nil)
		time.Sleep(10 * time.Hour)
		send(t, a, 1)
		receive(t, b, 1)
		a.Close()
		time.Sleep(10 * time.Hour)
		b.Close()
		if res, _ := wait(); res != (duplex.Result{AtoB: 1}) {
			t.Errorf("got %+v", res)
		}
	})
}

// counted counts how often Copy looks at it.
type counted struct {
	duplex.Conn
	looks *atomic.Int32
}

func (c counted) Carrier() (read, write *net.TCPConn) { c.looks.Add(1); return nil, nil }
func (c counted) WriteTo(w io.Writer) (int64, error)  { return io.Copy(w, struct{ io.Reader }{c.Conn}) }

// Without a limit, nothing happens while both directions wait for bytes.
func TestNobodyLooksWhileBothWait(t *testing.T) {
	for name, o := range map[string]duplex.Options{"no limit": {}, "linger": {Linger: time.Minute}, "idle": {Idle: 20 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var looks atomic.Int32
				a, b, wait := inMemory(o, func(c duplex.Conn) duplex.Conn { return counted{c, &looks} })
				send(t, a, 1)
				receive(t, b, 1)
				time.Sleep(3 * duplex.DefaultProbe) // it was not idle before
				before := looks.Load()
				time.Sleep(10 * time.Hour)
				if n := looks.Load() - before; n != 0 {
					t.Errorf("looked %d times", n)
				}
				a.Close()
				b.Close()
				wait()
			})
		})
	}
}

func TestLingerEndsAHalfThatIsLeft(t *testing.T) {
	for name, o := range map[string]duplex.Options{
		"alone":     {Linger: 10 * time.Second},
		"with idle": {Linger: 10 * time.Second, Idle: time.Minute},
		"slow look": {Linger: 10 * time.Second, Probe: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, wait := inMemory(o, nil)
				time.Sleep(30 * time.Second)
				a.CloseWrite()
				time.Sleep(9 * time.Second)
				send(t, b, 1)
				res, took := wait()
				ends(t, res, took, duplex.ErrLinger, 49*time.Second)
				wasReset(t, a)
				wasReset(t, b)
			})
		})
	}
}

func TestIdleBelowLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{Linger: time.Minute, Idle: time.Second}, nil)
		a.CloseWrite()
		res, took := wait()
		ends(t, res, took, duplex.ErrIdle, time.Second)
		a.Close()
		b.Close()
	})
}

// A dead link shows as silence.
func TestIdleOnADeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{Idle: time.Minute}, nil)
		b.Cut()
		send(t, a, 1<<10)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		for {
			if _, err := a.Write(make([]byte, 1<<10)); err != nil {
				break
			}
		}
		res, took := wait()
		ends(t, res, took, duplex.ErrIdle, time.Minute)
		wasReset(t, a)
		b.Close()
	})
}

func TestDeadlineIsAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{}, func(c duplex.Conn) duplex.Conn {
			c.SetReadDeadline(time.Now().Add(time.Second))
			return c
		})
		res, took := wait()
		ends(t, res, took, os.ErrDeadlineExceeded, time.Second)
		wasReset(t, a)
		wasReset(t, b)
	})
}

// In memory, too, a reset is seen while Copy only writes.
func TestResetIsSeenWhileCopyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{}, nil)
		send(t, a, memconn.DefaultBuffer)
		synctest.Wait()
		send(t, a, memconn.DefaultBuffer) // waits in the write to b
		synctest.Wait()
		a.Reset()
		res, took := wait()
		ends(t, res, took, syscall.ECONNRESET, duplex.DefaultProbe)
		wasReset(t, b)
	})
}

// lastRead returns the end of stream together with the last bytes.
type lastRead struct {
	duplex.Conn
	after int // how many bytes come before the end
}

func (c *lastRead) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.after -= n
	if err == nil && c.after == 0 {
		err = io.EOF
	}
	return n, err
}

func TestEndTogetherWithBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{}, func(c duplex.Conn) duplex.Conn { return &lastRead{c, 3} })
		send(t, a, 3)
		seesEOF(t, b, 3)
		send(t, b, 3)
		seesEOF(t, a, 3)
		if res, _ := wait(); res.AtoB != 3 || res.BtoA != 3 || res.Moved || res.Err != nil {
			t.Errorf("got %+v", res)
		}
		a.Close()
		b.Close()
	})
}

// ownWays has WriteTo and ReadFrom of its own, as a stream may.
type ownWays struct {
	duplex.Conn
	used chan string
}

func (c *ownWays) WriteTo(w io.Writer) (int64, error) {
	c.used <- "WriteTo"
	return io.Copy(w, struct{ io.Reader }{c.Conn})
}

// ownReadFrom has only the second.
type ownReadFrom struct {
	duplex.Conn
	used chan string
}

func (c *ownReadFrom) ReadFrom(r io.Reader) (int64, error) {
	c.used <- "ReadFrom"
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

func TestOwnWaysAreUsed(t *testing.T) {
	for name, wrap := range map[string]func(c duplex.Conn, used chan string) duplex.Conn{
		"WriteTo":  func(c duplex.Conn, used chan string) duplex.Conn { return &ownWays{c, used} },
		"ReadFrom": func(c duplex.Conn, used chan string) duplex.Conn { return &ownReadFrom{c, used} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				used := make(chan string, 2)
				a, b, wait := inMemory(duplex.Options{Idle: time.Minute},
					func(c duplex.Conn) duplex.Conn { return wrap(c, used) })
				for range 2 {
					if got := <-used; got != name {
						t.Errorf("used %s", got)
					}
				}
				time.Sleep(50 * time.Second)
				send(t, a, some/2)
				receive(t, b, some/2)
				res, took := wait()
				if res.AtoB != some/2 {
					t.Errorf("counted %d bytes", res.AtoB)
				}
				ends(t, res, took, duplex.ErrIdle, 110*time.Second)
				a.Close()
				b.Close()
			})
		})
	}
}

// A struct around a socket inherits the socket's WriteTo, which would leave
// out what the struct's own Read adds.
type peeked struct {
	*net.TCPConn
	first []byte
}

func (c *peeked) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.TCPConn.Read(p)
}

func TestPeekedBytesAreNotLeftOut(t *testing.T) {
	peek := func(c *net.TCPConn) duplex.Conn { return &peeked{c, []byte("peeked")} }
	r := newRig(t, pathway{a: peek, b: peek}, duplex.Options{})
	r.a.CloseWrite()
	r.b.CloseWrite()
	seesEOF(t, r.b, 6)
	seesEOF(t, r.a, 6)
	r.done(t, 6, 6, true)
}

// An end that lies behind bytes which the other side does not take counts as an
// end: the connections are not kept for longer than Linger.
func TestLingerCountsAnEndBehindUntakenBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(duplex.Options{Linger: time.Minute}, nil)
		send(t, b, 1)
		receive(t, a, 1)
		a.Write(make([]byte, memconn.DefaultBuffer+smallWrite)) // more than b's buffer takes
		a.Write(make([]byte, memconn.DefaultBuffer/2))
		a.CloseWrite()
		res, took := wait()
		ends(t, res, took.Round(2*duplex.DefaultProbe), duplex.ErrLinger, time.Minute)
		wasReset(t, b)
	})
}

const smallWrite = 4 << 10

// Where b has not sent one byte, Unanswered takes the place of Linger once a has
// ended; after b's first byte it does not count.
func TestUnansweredTakesThePlaceOfLinger(t *testing.T) {
	o := duplex.Options{Linger: time.Hour, Unanswered: 20 * time.Second}
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(o, nil)
		send(t, a, 1)
		receive(t, b, 1)
		a.CloseWrite()
		res, took := wait()
		ends(t, res, took, duplex.ErrLinger, 20*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		a, b, wait := inMemory(o, nil)
		send(t, b, 1)
		receive(t, a, 1)
		a.CloseWrite()
		res, took := wait()
		ends(t, res, took, duplex.ErrLinger, time.Hour)
		b.Close()
	})
	synctest.Test(t, func(t *testing.T) { // b's end counts as ever
		_, b, wait := inMemory(o, nil)
		b.CloseWrite()
		res, took := wait()
		ends(t, res, took, duplex.ErrLinger, time.Hour)
	})
}
