//go:build linux

package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/result"
	"keystay/e2e/bench/internal/site"
)

// A flow is a download or an upload without end.
type flow struct {
	visitor *site.Visitor
	bytes   atomic.Int64
	ended   chan error
}

func openFlow(s *subject, up bool) (*flow, error) {
	v, err := s.door.Open()
	if err != nil {
		return nil, err
	}
	f := &flow{visitor: v, ended: make(chan error, 1)}
	go func() {
		if up {
			f.ended <- v.Upload(&f.bytes)
		} else {
			f.ended <- v.Download(&f.bytes)
		}
	}()
	return f, nil
}

// close ends the flow. The error tells that it had ended before.
func (f *flow) close() (err error) {
	select {
	case err = <-f.ended:
		err = fmt.Errorf("a flow broke: %w", err)
	default:
	}
	f.visitor.Close()
	if err == nil {
		<-f.ended
	}
	return err
}

// A reading is the state of all counters at one time.
type reading struct {
	at            time.Time
	bytes         int64
	relay, remote time.Duration
}

func read(s *subject, flows []*flow) (r reading, err error) {
	for _, p := range []*child.Process{s.relay, s.second} {
		used, err := p.CPU()
		if err != nil {
			return r, err
		}
		r.relay += used
	}
	for _, p := range []*child.Process{s.remote, s.client} {
		used, err := p.CPU()
		if err != nil {
			return r, err
		}
		r.remote += used
	}
	for _, f := range flows {
		r.bytes += f.bytes.Load()
	}
	r.at = time.Now()
	return r, nil
}

// stillTime is how long nothing at all may happen.
const stillTime = 20 * time.Second

// bulk measures flows that go on without end, over a window.
func bulk(s *subject, up bool, flows int, warm, window time.Duration) (m result.Measurement, err error) {
	m = result.Measurement{Test: "down", Flows: flows}
	if up {
		m.Test = "up"
	}
	all := make([]*flow, 0, flows)
	defer func() {
		for _, f := range all {
			if cerr := f.close(); err == nil {
				err = cerr
			}
		}
	}()
	for range flows {
		f, err := openFlow(s, up)
		if err != nil {
			return m, err
		}
		all = append(all, f)
	}
	if err := s.pause(warm); err != nil {
		return m, err
	}
	before, err := read(s, all)
	if err != nil {
		return m, err
	}
	after := before
	for after.bytes == before.bytes { // once, but on a machine that stands still
		if after.at.Sub(before.at) > stillTime {
			return m, fmt.Errorf("no byte in %v", stillTime)
		}
		if err := s.pause(window); err != nil {
			return m, err
		}
		if after, err = read(s, all); err != nil {
			return m, err
		}
	}
	n := float64(after.bytes - before.bytes)
	m.Mbps = n * 8 / 1e6 / after.at.Sub(before.at).Seconds()
	m.RelayCPU = (after.relay - before.relay).Seconds() / n * (1 << 30)
	m.RemoteCPU = (after.remote - before.remote).Seconds() / n * (1 << 30)
	return m, nil
}

// smallSize is the answer to a small request, in bytes.
const smallSize = 256

// connections measures new connections, flows at once, each with a full TLS
// handshake and one small request.
func connections(s *subject, flows int, window time.Duration) (m result.Measurement, err error) {
	m = result.Measurement{Test: "conn", Flows: flows}
	if err := visitOnce(s); err != nil {
		return m, err
	}
	before, err := read(s, nil)
	if err != nil {
		return m, err
	}
	end := before.at.Add(window)
	var count atomic.Int64
	err = each(flows, func() error {
		for {
			if err := visitOnce(s); err != nil {
				return err
			}
			count.Add(1)
			if !time.Now().Before(end) {
				return nil
			}
		}
	})
	if err != nil {
		return m, err
	}
	after, err := read(s, nil)
	n := float64(count.Load())
	m.ConnPerS = n / after.at.Sub(before.at).Seconds()
	m.RelayCPUPerConn = float64((after.relay - before.relay).Microseconds()) / 1e3 / n
	m.RemoteCPUPerConn = float64((after.remote - before.remote).Microseconds()) / 1e3 / n
	return m, err
}

func visitOnce(s *subject) error {
	v, err := s.door.Open()
	if err != nil {
		return err
	}
	defer v.Close()
	return v.Get(smallSize)
}

// each runs f n times at once and returns the first error.
func each(n int, f func() error) error {
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := f(); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// latencies measures small requests, one after the other on each of flows open
// connections.
func latencies(s *subject, flows int, warm, window time.Duration) (m result.Measurement, err error) {
	m = result.Measurement{Test: "keepalive", Flows: flows}
	var mu sync.Mutex
	var all []time.Duration
	err = each(flows, func() error {
		v, err := s.door.Open()
		if err != nil {
			return err
		}
		defer v.Close()
		own := make([]time.Duration, 0, 1<<16)
		begin := time.Now().Add(warm)
		for last := time.Now(); last.Before(begin.Add(window)) || len(own) == 0; {
			if err := v.Get(smallSize); err != nil {
				return err
			}
			now := time.Now()
			if last.After(begin) {
				own = append(own, now.Sub(last))
			}
			last = now
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, own...)
		return nil
	})
	m.Latencies(all)
	return m, err
}

// busy measures small requests while a download runs through the same subject.
func busy(s *subject, flows int, warm, window time.Duration) (m result.Measurement, err error) {
	f, err := openFlow(s, false)
	if err != nil {
		return m, err
	}
	m, err = latencies(s, flows, warm, window)
	m.Test = "busy"
	if cerr := f.close(); err == nil {
		err = cerr
	}
	return m, err
}
