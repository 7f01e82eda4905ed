package relay

import (
	"log/slog"
	"sync"
	"testing"

	"keystay/internal/memconn"
)

// What the server holds for a connection is given up once, however many call end,
// and after cut nothing is admitted.
func TestAConnectionIsGivenUpOnce(t *testing.T) {
	k := newSockets(slog.New(slog.DiscardHandler), 0, nil, new(fronts), new(siblings), nil)
	memory := &unfinished{limit: 1 << 20}
	_, c := memconn.Pipe(0)
	a := k.admit(c)
	a.place = memory.begin(c, 0)
	k.routing.add()
	a.routing.Store(true)
	other := k.admit(c)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(a.end)
		wg.Go(a.routed)
	}
	wg.Wait()
	if used, _, _ := memory.usage(); used != 0 || k.routing.current() != 0 || len(k.conns) != 1 {
		t.Errorf("%d bytes, %d that are routed and %d connections are left, want 0, 0 and the other one", used, k.routing.current(), len(k.conns))
	}
	k.cut()
	other.end()
	if k.wg.Wait(); k.admit(c) != nil {
		t.Error("a connection is admitted after cut")
	}
}
