//go:build linux

package main

import (
	"crypto/tls"
	"time"

	"keystay/e2e/bench/internal/result"
)

// What stands at home before one HTTP service: the program remote behind the
// program relay, and two reverse proxies that end TLS, behind HAProxy. The others
// are the tunnels of -peers.
const (
	programs = "programs"
	caddy    = "caddy"
	nginx    = "nginx"
)

// home measures whole services, in turn.
func (b *bench) home() error {
	if !b.has("home") {
		return nil
	}
	var subjects []*subject
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	all := []string{programs, caddy, nginx}
	for _, t := range tunnels() {
		all = append(all, t.name)
	}
	for _, what := range all {
		if err := b.atHome(what); err != nil {
			b.skip("home: "+what, err)
			continue
		}
		s, err := b.startHome(what)
		if err != nil {
			return err
		}
		subjects = append(subjects, s)
	}
	p := b.plan
	return b.inTurn("home", subjects, []test{
		{"home_keepalive", func(s *subject) (result.Measurement, error) { return requests(s, 1, p.warm, p.window) }},
		{"home_keepalive", func(s *subject) (result.Measurement, error) { return requests(s, 16, p.warm, p.window) }},
		{"home_conn", func(s *subject) (result.Measurement, error) {
			m, err := connections(s, 8, p.window)
			m.Test = "home_conn"
			return m, err
		}},
		{"home_conn_x25519", func(s *subject) (result.Measurement, error) {
			alike := *s // without the key exchange that not all subjects have
			alike.door.Curves = []tls.CurveID{tls.X25519}
			m, err := connections(&alike, 8, p.window)
			m.Test = "home_conn_x25519"
			return m, err
		}},
		{"home_down", func(s *subject) (result.Measurement, error) { return homeBulk(s, 1, p.warm, p.window) }},
		{"home_down", func(s *subject) (result.Measurement, error) { return homeBulk(s, 8, p.warm, p.window) }},
	})
}

// requests measures small requests on flows open connections, and what each costs.
func requests(s *subject, flows int, warm, window time.Duration) (m result.Measurement, err error) {
	if _, err := latencies(s, flows, 0, warm); err != nil {
		return m, err
	}
	before, err := read(s, nil)
	if err != nil {
		return m, err
	}
	if m, err = latencies(s, flows, 0, window); err != nil {
		return m, err
	}
	after, err := read(s, nil)
	n := float64(m.Count)
	m.Test = "home_keepalive"
	m.PerS = n / after.at.Sub(before.at).Seconds()
	m.RelayCPUEach = float64((after.relay - before.relay).Microseconds()) / n
	m.RemoteCPUEach = float64((after.remote - before.remote).Microseconds()) / n
	return m, err
}

func homeBulk(s *subject, flows int, warm, window time.Duration) (result.Measurement, error) {
	m, err := bulk(s, false, flows, warm, window)
	m.Test = "home_down"
	return m, err
}
