package names

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// guard runs f, and makes an error of a panic and of a fault. A panic of bbolt, and
// a fault, say that the file is damaged; one of keystay's own code says nothing of
// the file, and bbolt has undone the transaction.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		_, fault := p.(interface{ Addr() uintptr }) // see debug.SetPanicOnFault
		at := panickedAt()
		if fault || !strings.HasPrefix(at.Function, "keystay/") {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
			return
		}
		err = fmt.Errorf("a mistake in this program, at %s:%d: %v", filepath.Base(at.File), at.Line, p)
	}()
	return f()
}

// panickedAt returns the innermost frame of bbolt or keystay below a panic, for a
// deferred function.
func panickedAt() runtime.Frame {
	var pc [64]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(0, pc[:])])
	for below, more := false, true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			below = true
		case below && (strings.HasPrefix(f.Function, "go.etcd.io/bbolt") || strings.HasPrefix(f.Function, "keystay/")):
			return f
		}
	}
	return runtime.Frame{}
}
