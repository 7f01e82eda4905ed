package duplex

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// The bounds of the pipes of the process: those that move bytes and those kept
// for the next. Each has two descriptors, and up to its size in bytes of the
// kernel's memory while they wait for their receiver: 152 MiB in all.
//
// A pipe has a slot for each 4 KiB of its size, and a packet may need one to
// itself, so large ones save much. Linux lets an ordinary user have 64 MiB of
// pipes, then only the smallest: these sizes make 160 pipes of that.
const (
	maxPipes    = 512
	largePipes  = 32 // the first so many are large
	largePipe   = 1 << 20
	usualPipe   = 256 << 10
	minPipeSize = 64 << 10 // a smaller one is not worth it
)

// A pipe is what bytes are spliced through.
type pipe struct {
	pipeEnds
	held    int // bytes in it
	cleanup runtime.Cleanup
}

type pipeEnds struct{ r, w uintptr }

// A pipePool keeps pipes, all empty, for a while: what is not used between two
// collections of garbage, which come every two minutes at least, is closed.
// sync.Pool forgets a pipe without a word, so closing is up to its cleanup.
type pipePool struct {
	pool sync.Pool
	open atomic.Int32
}

// pipes is shared by all of the process.
var pipes pipePool

// borrow returns an empty pipe, or nil if none can be had.
func (pp *pipePool) borrow() *pipe {
	if p, ok := pp.pool.Get().(*pipe); ok {
		return p
	}
	open := pp.open.Add(1)
	if open > maxPipes {
		pp.open.Add(-1)
		return nil
	}
	size := usualPipe
	if open <= largePipes {
		size = largePipe
	}
	p := newPipe(size)
	if p == nil {
		pp.open.Add(-1)
		return nil
	}
	p.cleanup = runtime.AddCleanup(p, pp.close, p.pipeEnds)
	return p
}

// giveBack takes a pipe that was borrowed. One that still holds bytes is
// closed.
func (pp *pipePool) giveBack(p *pipe) {
	if p.held == 0 {
		pp.pool.Put(p)
		return
	}
	p.cleanup.Stop()
	pp.close(p.pipeEnds)
}

func (pp *pipePool) close(p pipeEnds) {
	syscall.Close(int(p.r))
	syscall.Close(int(p.w))
	pp.open.Add(-1)
}

// newPipe returns a pipe of size bytes, or of what can be had, nil if that is
// too little.
func newPipe(size int) *pipe {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil
	}
	got, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, size)
	if err != nil {
		got, err = unix.FcntlInt(uintptr(fds[1]), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || got < minPipeSize {
		syscall.Close(fds[0])
		syscall.Close(fds[1])
		return nil
	}
	return &pipe{pipeEnds: pipeEnds{uintptr(fds[0]), uintptr(fds[1])}}
}
