//go:build linux

package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Setup says what a link is like, the same in both directions.
type Setup struct {
	Delay time.Duration // one way
	Rate  int64         // bits per second of whole IP packets
	Queue int64         // bytes that may wait to be sent; what is more is dropped
	Seed  uint64        // of the losses
}

const (
	// maxUnderway is how many packets may be on their way in one direction.
	maxUnderway = 1 << 16
	// early is how much before its time a packet may arrive: less than it takes
	// to sleep and wake up.
	early = 10 * time.Microsecond
)

// A packet is on its way.
type packet struct {
	due  time.Duration // of the monotonic clock
	data []byte
}

// A pipe is one direction of a link.
type pipe struct {
	setup    Setup
	from, to int // descriptors of TUN devices
	loss     *atomic.Uint64
	random   *rand.Rand
	free     sync.Pool // of buffers
	packets  chan packet
	idle     time.Duration // when all that was taken has been sent
}

// lossUnit is a loss of all packets, in the unit of a pipe.
const lossUnit = 1 << 32

func newPipe(s Setup, from, to int, loss *atomic.Uint64, stream uint64) *pipe {
	return &pipe{
		setup: s, from: from, to: to, loss: loss,
		random:  rand.New(rand.NewPCG(s.Seed, stream)),
		free:    sync.Pool{New: func() any { b := make([]byte, mtu); return &b }},
		packets: make(chan packet, maxUnderway),
	}
}

// take reads packets until the device is gone.
func (p *pipe) take() error {
	defer close(p.packets)
	ownThread()
	for {
		b := p.free.Get().(*[]byte)
		n, err := unix.Read(p.from, (*b)[:mtu])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read from TUN device: %w", err)
		}
		due, ok := p.accept(clock(), n)
		if !ok {
			p.free.Put(b)
			continue
		}
		select {
		case p.packets <- packet{due, (*b)[:n]}:
		default:
			return errors.New("too many packets on their way")
		}
	}
}

// accept decides about a packet of n bytes that was sent now: when it arrives,
// or that it is lost.
func (p *pipe) accept(now time.Duration, n int) (due time.Duration, ok bool) {
	lost := uint64(p.random.Uint32()) < p.loss.Load()
	start := max(now, p.idle)
	waiting := int64((start - now).Seconds() * float64(p.setup.Rate) / 8)
	if waiting+int64(n) > p.setup.Queue {
		return 0, false
	}
	p.idle = start + time.Duration(float64(n)*8/float64(p.setup.Rate)*float64(time.Second))
	return p.idle + p.setup.Delay, !lost // a lost packet takes its time all the same
}

// give writes packets when they are due.
func (p *pipe) give() error {
	ownThread()
	for k := range p.packets {
		for clock() < k.due-early {
			ts := unix.NsecToTimespec(k.due.Nanoseconds())
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		}
		if _, err := unix.Write(p.to, k.data); err != nil {
			return fmt.Errorf("write to TUN device: %w", err)
		}
		b := k.data[:mtu]
		p.free.Put(&b)
	}
	return nil
}

// urgent is a nice value.
const urgent = -15

// ownThread gives a goroutine a thread that ends with it. The thread is more
// urgent than others, where it may be: a network is not slower because the
// processors are busy. And the kernel may not add 50 µs to its sleeps.
func ownThread() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), urgent)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

// clock is the monotonic clock.
func clock() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // this clock always exists
	return time.Duration(ts.Nano())
}
