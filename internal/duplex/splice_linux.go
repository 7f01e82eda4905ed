package duplex

import (
	"os"
	"syscall"

	"keystay/internal/socket"
)

// When to splice. A pipe moves 32 KiB for as much time of the processor as a
// buffer, smaller pieces for more, and far larger ones for much less.
const (
	bulkPiece  = largeBuffer / 2 // bytes
	bulkAfter  = 3               // reads of that in a row
	smallPiece = 16 << 10        // bytes
	quietAfter = 8               // pieces below that in a row
	maxSplice  = 1 << 20         // bytes at once
	noSplice   = 256             // large reads before it is tried again if it cannot be done
)

// bulk notes a read of n bytes and reports whether it is time to splice.
func (t *taker) bulk(n int) bool {
	if n < bulkPiece {
		t.large = min(t.large, 0)
		return false
	}
	t.large++
	return t.large >= bulkAfter
}

// splice moves bytes from one socket to the other as long as they come in
// pieces worth it. It returns when a read has to tell how it goes on, with what
// taker.large is to count from.
func (d *direction) splice(in, out syscall.RawConn) (large int, err error) {
	s := &splicer{d: d}
	fill, drain := s.fill, s.drain
	for small := 0; small < quietAfter; {
		if err := in.Read(fill); err != nil {
			return 0, err
		}
		if d.portion.waits() {
			if err := d.pause(); err != nil {
				return 0, err
			}
			continue
		}
		if s.pipe == nil {
			return -noSplice, nil
		}
		n := s.pipe.held
		if n > 0 {
			err = out.Write(drain)
			d.busy.Store(false)
		}
		pipes.giveBack(s.pipe)
		s.pipe = nil
		if err == nil {
			err = s.err
		}
		if err != nil || n == 0 {
			return 0, err
		}
		if small++; n >= smallPiece {
			small = 0
		}
	}
	return 0, nil
}

// A splicer moves bytes from one socket to another through a pipe, which it
// borrows for as long as there are some.
type splicer struct {
	d    *direction
	pipe *pipe
	err  error // of the connections
}

// fill moves what there is into a pipe. It returns false if there is nothing
// yet, and leaves no pipe if splicing cannot be done. An end of stream is an
// empty pipe. So is an error of the connection, which must be kept: the system
// tells of a reset once, and a Read that came next would say end of stream.
func (s *splicer) fill(fd uintptr) bool {
	if !s.d.begin(maxSplice, fd) {
		return true // with a wait
	}
	if s.pipe = pipes.borrow(); s.pipe == nil {
		return true
	}
	n, err := socket.Splice(fd, s.pipe.w, s.d.most(maxSplice))
	s.d.moves(n)
	s.pipe.held = n
	switch err {
	case nil:
		return true
	case syscall.EAGAIN, syscall.EINVAL, syscall.ENOSYS, syscall.EPERM, syscall.ENOMEM:
		pipes.giveBack(s.pipe)
		s.pipe = nil
	default:
		s.err = os.NewSyscallError("splice", err)
	}
	return err != syscall.EAGAIN
}

// drain empties the pipe. It returns false if it has to wait for room.
func (s *splicer) drain(fd uintptr) bool {
	for s.pipe.held > 0 {
		n, err := socket.Splice(s.pipe.r, fd, s.pipe.held)
		if err == syscall.EAGAIN {
			s.d.waits()
			return false
		}
		if err == nil && n == 0 {
			err = syscall.EIO
		}
		if err != nil {
			s.err = os.NewSyscallError("splice", err)
			return true
		}
		s.pipe.held -= n
		s.d.moved(n)
		s.d.spliced += int64(n)
	}
	return true
}
