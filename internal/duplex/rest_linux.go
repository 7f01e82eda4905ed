package duplex

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Rest is where directions wait for bytes when none has come for long, without a
// goroutine: one goroutine waits for all of them. See [Options]. Its methods may be
// called from any goroutine. A nil Rest has room for nobody. Make it with [NewRest].
type Rest struct {
	after time.Duration // for which no byte must have gone either way
	wg    sync.WaitGroup

	mu     sync.Mutex
	set    *os.File // of epoll; nil before it is needed
	epoll  int      // its descriptor
	closed bool     // or it cannot be had
	last   uint64   // the place that was given out last
	away   map[uint64]*direction
}

// NewRest returns a Rest in which a direction waits once no byte has gone either way for
// some time. The caller closes it.
func NewRest(after time.Duration) *Rest {
	return &Rest{after: after, away: make(map[uint64]*direction)}
}

// Wake lets all that rest wait by themselves again. It is to be called when a
// connection was closed from which a direction may be waiting for bytes: the system
// tells of the other side alone.
func (r *Rest) Wake() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeAllLocked()
}

// Close is Wake, and nobody rests from then on. It may be called again.
func (r *Rest) Close() {
	if r == nil {
		return
	}
	r.shut()
	r.mu.Lock()
	if r.set != nil {
		r.set.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// shut wakes all, and nobody rests from then on.
func (r *Rest) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeAllLocked()
	r.closed = true
}

func (r *Rest) wakeAllLocked() {
	for place := range r.away {
		r.wakeLocked(place)
	}
}

// take has d wait for bytes of raw here. It reports false where d has to wait by
// itself: with true somebody else goes on with it, perhaps already. The lock is held all
// the time, so that nobody goes on with it, and comes again, before it is here.
func (r *Rest) take(d *direction, raw syscall.RawConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.isOver() || !r.openLocked() {
		return false
	}
	r.last++
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(r.last), Pad: int32(r.last >> 32)}
	var err error
	if raw.Control(func(fd uintptr) {
		if err = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, int(fd), &event); err == unix.EEXIST {
			err = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_MOD, int(fd), &event)
		}
	}) != nil || err != nil {
		return false
	}
	d.place = r.last
	r.away[d.place] = d
	return true
}

// leave ends that d is here. It reports false when it is not, or not any more.
func (r *Rest) leave(d *direction) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.place == 0 {
		return false
	}
	delete(r.away, d.place)
	d.place = 0
	return true
}

// wakeLocked goes on with the direction that has a place.
func (r *Rest) wakeLocked(place uint64) {
	d := r.away[place]
	if d == nil { // it has left
		return
	}
	delete(r.away, place)
	d.place = 0
	go d.resume()
}

// openLocked makes the set of epoll, and reports whether there is one.
func (r *Rest) openLocked() bool {
	if r.closed || r.set != nil {
		return !r.closed
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		r.closed = true
		return false
	}
	_ = unix.SetNonblock(fd, true) // so that the runtime waits for it; this cannot fail
	set := os.NewFile(uintptr(fd), "epoll")
	r.set, r.epoll = set, fd
	r.wg.Go(func() { r.wait(set) })
	return true
}

// wait wakes those for which something has come, until the set is closed, or cannot be
// waited for: then nobody would wake those who rest, so all go on by themselves.
func (r *Rest) wait(set *os.File) {
	defer r.shut()
	raw, err := set.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		if raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		}) != nil {
			return
		}
		r.mu.Lock()
		for _, e := range events[:n] {
			r.wakeLocked(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
		r.mu.Unlock()
	}
}
