package remote_test

import (
	"testing"

	"keystay/remote"
)

// A device counts the links that come up, the visitors who come, and their bytes; one that
// is not asked to does not.
func TestADeviceCountsWhatItDoes(t *testing.T) {
	for name, counts := range map[string]bool{"asked": true, "not asked": false} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t)
			cfg := r.deviceConfig()
			cfg.Links = 2
			var f remote.Figures
			if counts {
				cfg.Figures = &f
			}
			d := r.openDevice(cfg)
			ln := r.serveNames(d, "one.relay.test")[0]
			link := r.next()
			r.next()
			v, at := link.visit(ln)
			talk(t, v, at)
			is := [3]bool{f.Links.Load() == 2, f.Visitors.Load() == 1, f.Traffic.StreamIn.Load() > 0 && f.Traffic.StreamOut.Load() > 0}
			if want := [3]bool{counts, counts, counts}; is != want {
				t.Errorf("%d links, %d visitors, %d bytes", f.Links.Load(), f.Visitors.Load(), f.Traffic.StreamIn.Load())
			}
		})
	}
}
