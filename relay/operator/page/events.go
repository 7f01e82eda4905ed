package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// maxViewers is how many pages watch at once: each is a connection that stays.
	maxViewers = 32
	// watchTime is how long one of them is told. Then its browser asks again.
	watchTime = 10 * time.Minute
	// eventTimeout is how long a browser may take to read one event.
	eventTimeout = 10 * time.Second
)

// events tells a browser what the graphs show, once every sampleEvery, as server-sent
// events: first all samples, as "history", then each new one, as "now".
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	switch {
	case !p.sees(r):
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	case p.viewers.Add(1) > maxViewers:
		p.viewers.Add(-1)
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many watch this page", http.StatusServiceUnavailable)
		return
	}
	defer p.viewers.Add(-1)
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // nothing more is to come
	w.Header().Set("Content-Type", "text/event-stream")
	tell := func(event string, v any) bool {
		b, err := json.Marshal(v)
		if err != nil {
			return false
		}
		_ = c.SetWriteDeadline(time.Now().Add(eventTimeout))
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, b)
		return err == nil && c.Flush() == nil
	}
	over := time.NewTimer(watchTime)
	defer over.Stop()
	next := p.history.wait()
	list, stopping := p.history.last(maxSamples)
	for event := "history"; next != nil && tell(event, list) && !stopping; event = "now" {
		select {
		case <-next:
		case <-over.C:
			return
		case <-r.Context().Done():
			return
		}
		if !p.sees(r) {
			return
		}
		next = p.history.wait()
		list, stopping = p.history.last(1)
	}
}
