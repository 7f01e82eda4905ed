package page

import "time"

// SetSampleEvery sets the time between two samples of the graphs.
func (p *Page) SetSampleEvery(d time.Duration) { p.every = d }
