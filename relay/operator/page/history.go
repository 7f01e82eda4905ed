package page

import (
	"sync"
	"time"

	"keystay/relay"
)

const (
	// sampleEvery is the time between two samples of the graphs, and how often those who
	// watch are told.
	sampleEvery = 2 * time.Second
	// maxSamples is how many are kept: half an hour.
	maxSamples = 900
)

// A sample is what the graphs show of one moment. Totals are since the start of the
// process.
type sample struct {
	at                       int64 // Unix seconds
	visitors, links, names   int
	arrived, refused, limits int64 // totals
	memory                   int64
	in, out                  int64 // totals, bytes
	stopping                 bool
}

func sampleOf(st relay.Status, now time.Time) sample {
	s := sample{at: now.Unix(), visitors: st.Visitors, links: st.Links, names: st.Names,
		arrived: st.VisitorsTotal, refused: st.RefusedTotal, memory: st.Memory, in: st.BytesIn, out: st.BytesOut, stopping: st.Stopping}
	for _, n := range st.LimitsMet {
		s.limits += n
	}
	return s
}

// A history has the last samples. The zero value has none.
type history struct {
	mu      sync.Mutex
	samples []sample      // the oldest first, maxSamples at most
	next    chan struct{} // closed with the next sample, or when it is over
	over    bool
}

func (h *history) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == maxSamples {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, s)
	h.wakeLocked()
}

// close ends the history: nobody waits any more.
func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.wakeLocked()
}

func (h *history) wakeLocked() {
	if h.next != nil {
		close(h.next)
		h.next = nil
	}
}

// wait returns a channel that is closed with the next sample, or nil when there is
// none to come.
func (h *history) wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil
	}
	if h.next == nil {
		h.next = make(chan struct{})
	}
	return h.next
}

// last returns the last n samples, as lists for the graphs, and whether the relay
// stops.
func (h *history) last(n int) (l series, stopping bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := max(0, len(h.samples)-n)
	for i := first; i < len(h.samples); i++ {
		s, was := h.samples[i], h.samples[max(0, i-1)]
		seconds := float64(max(1, s.at-was.at))
		l.At = append(l.At, s.at)
		l.Visitors = append(l.Visitors, s.visitors)
		l.Links = append(l.Links, s.links)
		l.Names = append(l.Names, s.names)
		l.Memory = append(l.Memory, s.memory)
		l.Arrived = append(l.Arrived, float64(s.arrived-was.arrived)/seconds)
		l.In = append(l.In, max(0, float64(s.in-was.in)/seconds))
		l.Out = append(l.Out, max(0, float64(s.out-was.out)/seconds))
		l.Refused = append(l.Refused, float64(s.refused-was.refused)/seconds)
		l.Limits = append(l.Limits, float64(s.limits-was.limits)/seconds)
		stopping = s.stopping
	}
	return l, stopping
}

// A series is samples as the script takes them: rates are for a second.
type series struct {
	At       []int64   `json:"at"`
	Visitors []int     `json:"visitors"`
	Links    []int     `json:"links"`
	Names    []int     `json:"names"`
	Memory   []int64   `json:"memory"`
	Arrived  []float64 `json:"arrived"`
	Refused  []float64 `json:"refused"`
	In       []float64 `json:"in"`
	Out      []float64 `json:"out"`
	Limits   []float64 `json:"limits"`
}
