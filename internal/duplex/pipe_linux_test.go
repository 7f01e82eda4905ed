package duplex

import (
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func isOpen(fd uintptr) bool {
	_, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
	return err == nil
}

func TestPipesAreUsedAgainWhenEmpty(t *testing.T) {
	var pool pipePool
	p := pool.borrow()
	if p == nil {
		t.Fatal("no pipe")
	}
	for _, fd := range []uintptr{p.r, p.w} {
		if flags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("a pipe would be inherited")
		}
	}
	ends := p.pipeEnds
	p.held = 1
	syscall.Write(int(p.w), []byte{1})
	pool.giveBack(p)
	if isOpen(ends.r) || isOpen(ends.w) || pool.open.Load() != 0 {
		t.Error("a pipe with a byte in it was kept")
	}

	var all []*pipe
	for p := pool.borrow(); p != nil; p = pool.borrow() {
		all = append(all, p)
		size, _ := unix.FcntlInt(p.r, unix.F_GETPIPE_SZ, 0)
		if size < minPipeSize {
			t.Errorf("a pipe of %d bytes", size)
		}
		if len(all) > maxPipes {
			t.Fatal("there is no bound")
		}
	}
	// Linux lets an ordinary user have fewer.
	if n := int(pool.open.Load()); n != len(all) || n == 0 {
		t.Errorf("%d pipes counted of %d", n, len(all))
	}
	t.Logf("%d pipes", len(all))
	for _, p := range all {
		p.held = 1 // so that the next test has its share
		pool.giveBack(p)
	}
}

// Pipes that nobody uses go with the garbage, descriptors and all.
func TestIdlePipesAreClosed(t *testing.T) {
	var pool pipePool
	ends := make([]pipeEnds, 0, 10)
	func() {
		var borrowed []*pipe
		for range cap(ends) {
			p := pool.borrow()
			borrowed, ends = append(borrowed, p), append(ends, p.pipeEnds)
		}
		for _, p := range borrowed {
			pool.giveBack(p)
		}
	}()
	for i := 0; pool.open.Load() > 0; i++ {
		if i == 1000 {
			t.Fatalf("%d pipes are open", pool.open.Load())
		}
		runtime.GC()
		runtime.Gosched()
	}
	for _, p := range ends {
		if isOpen(p.r) || isOpen(p.w) {
			t.Errorf("a descriptor of %v is open", p)
		}
	}
}
