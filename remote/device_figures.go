package remote

import (
	"sync/atomic"

	"keystay/framing"
)

// Figures are what a device has done since its start. The zero value is ready. They grow
// while the device runs, and may be read at any time.
type Figures struct {
	Links    atomic.Int64 // links to relays that came up: one that comes again counts again
	Visitors atomic.Int64 // connections that relays have led here, validations of the CA among them
	Traffic  framing.Traffic
}

func (f *Figures) linked() {
	if f != nil {
		f.Links.Add(1)
	}
}

func (f *Figures) visited() {
	if f != nil {
		f.Visitors.Add(1)
	}
}

// traffic is where links count bytes, or nil.
func (f *Figures) traffic() *framing.Traffic {
	if f == nil {
		return nil
	}
	return &f.Traffic
}
