// Package panics lets a mistake in the program end the one connection that came
// upon it, and not the process with everybody else's.
package panics

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxKinds is how many kinds of panics are logged: by what was done, and where.
	maxKinds = 64
	// maxFrames is how much of a stack is logged, in functions.
	maxFrames = 32
)

// A Log counts panics and logs the first of each kind, at level error: what was
// being done, the error if it is the runtime's, and where. Of other values only
// the type is logged, since they may hold anything that a visitor has sent.
//
// A nil Log catches nothing: panics go their way. The fields are set before.
type Log struct {
	Logger *slog.Logger // required
	// Passes is a value that is no mistake and goes its way, such as
	// [net/http.ErrAbortHandler]; nil is none.
	Passes error

	total atomic.Int64
	mu    sync.Mutex
	kinds map[string]struct{}
}

// Total is how many panics were caught.
func (l *Log) Total() int64 { return l.total.Load() }

// Catch is to be deferred, where a goroutine begins, and ends a panic there. What
// names the thing that was being done, and end ends it: for the peer, by a reset.
//
// By then everything that was deferred below has run, and with it what unlocks:
// locks that several connections share must be unlocked by defer.
func (l *Log) Catch(what string, end func()) {
	if l == nil {
		return
	}
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && l.Passes != nil && err == l.Passes {
		panic(v)
	}
	l.total.Add(1)
	l.log(what, v, stack())
	end()
}

func (l *Log) log(what string, v any, frames []string) {
	kind := what
	if len(frames) > 0 {
		kind += " " + frames[0]
	}
	l.mu.Lock()
	_, known := l.kinds[kind]
	if !known && len(l.kinds) < maxKinds {
		if l.kinds == nil {
			l.kinds = make(map[string]struct{})
		}
		l.kinds[kind] = struct{}{}
	} else {
		known = true
	}
	l.mu.Unlock()
	if known {
		return
	}
	text := fmt.Sprintf("a %T", v)
	if err, ok := v.(runtime.Error); ok {
		text = err.Error()
	}
	l.Logger.Error("a mistake in this program has ended a connection", "while", what, "panic", text, "at", strings.Join(frames, " < "))
}

// stack returns the functions that the panic came through, the innermost first,
// without their arguments.
func stack() (list []string) {
	pcs := make([]uintptr, maxFrames+8)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	thrown := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			thrown = true
		case thrown && len(list) < maxFrames && (len(list) > 0 || !strings.HasPrefix(f.Function, "runtime.")):
			list = append(list, fmt.Sprintf("%s:%d", f.Function, f.Line))
		}
		if !more {
			return list
		}
	}
}
