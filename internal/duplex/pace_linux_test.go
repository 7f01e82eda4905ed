package duplex_test

import (
	"testing"
	"time"

	"keystay/internal/duplex"
)

// Bulk that is paced is moved by the kernel as other bulk is: the program touches
// only what comes before a flow turns out to be bulk.
func TestPacedBulkIsSpliced(t *testing.T) {
	const total = 64 << 20
	for _, path := range []string{"splice", "moved"} {
		t.Run(path, func(t *testing.T) {
			p := &turns{most: 64 << 10, wait: 10 * time.Microsecond}
			r := newRig(t, paths[path], duplex.Options{PaceAB: p})
			go r.a.Write(make([]byte, total))
			receive(t, r.b, total)
			r.a.CloseWrite()
			seesEOF(t, r.b, 0)
			r.b.Close()
			res := r.wait(t)
			if copied := total - res.Spliced; res.AtoB != total || copied > total/20 {
				t.Errorf("%d bytes of %d went through memory: %+v", copied, total, res)
			}
			if asked := p.asked.Load(); asked < total>>16 {
				t.Errorf("%d turns for %d bytes", asked, total)
			}
		})
	}
}
