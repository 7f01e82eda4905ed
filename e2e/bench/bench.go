//go:build linux

package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/result"
)

// A bench is one run of the benchmark.
type bench struct {
	ctx      context.Context // ends the run early
	plan     plan
	subjects []string
	tests    []string
	bin      string // the folder of the programs
	peers    string // the folder of other tunnels' programs, or ""
	self     string // this program
	dir      string // temporary
	cert     certificate
	roots    *x509.CertPool
	group    *child.Group
	out      io.Writer // the measurements as lines of JSON; may be nil
	progress io.Writer
	all      []result.Measurement
	skipped  []string // what could not be had, and why
	used     []string // how other tunnels were configured
	began    time.Time
}

// allTests are the groups of tests that can be chosen, in their order.
func allTests() []string {
	return []string{"down", "up", "conn", "keepalive", "busy", "hop", "home", "idle_remote", "idle_visitor", "route", "scale", "wan_fetch", "wan_beside", "wan_down", "wan_busy"}
}

// run measures everything. When its context ends it stops at once.
func (b *bench) run() (err error) {
	if b.dir, err = os.MkdirTemp("", "keystay-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.group = child.NewGroup()
	defer b.group.Close()
	defer context.AfterFunc(b.ctx, b.group.Kill)()
	if b.cert, err = newCertificate(b.dir); err != nil {
		return err
	}
	if b.roots, err = b.cert.pool(); err != nil {
		return err
	}
	b.subjects = slices.DeleteFunc(b.subjects, func(s string) bool {
		err := b.available(s)
		if err != nil {
			b.skip(s, err)
		}
		return err != nil
	})
	for _, part := range []func() error{b.loopback, b.hop, b.home, b.idle, b.route, b.scale, b.wan} {
		err := part()
		if b.ctx.Err() != nil {
			return errors.New("interrupted") // whatever broke because of it
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) has(test string) bool { return slices.Contains(b.tests, test) }

// skip notes what is left out and why.
func (b *bench) skip(what string, why error) {
	b.skipped = append(b.skipped, skipped(what, why))
	b.say("%s", skipped(what, why))
}

func skipped(what string, why error) string { return fmt.Sprintf("%s: skipped: %v", what, why) }

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

// note keeps a measurement.
func (b *bench) note(m result.Measurement) error {
	b.all = append(b.all, m)
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if b.out != nil {
		if _, err := b.out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	b.say("%s", line)
	return nil
}

// A test is something that is measured of a subject.
type test struct {
	name string
	run  func(*subject) (result.Measurement, error)
}

// measure does one test of one subject and keeps what comes of it.
func (b *bench) measure(t test, s *subject, round int) error {
	runtime.GC() // what the visitors of the last test left behind is no part of this one
	m, err := t.run(s)
	if dead := s.err(); dead != nil {
		err = dead
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", t.name, s.name, err)
	}
	m.Subject, m.Link, m.Where, m.Round = s.name, s.place.link, s.place.where, round
	if err := s.pause(b.plan.settle); err != nil {
		return err
	}
	return b.note(m)
}

// loopback runs the tests on loopback, all subjects in turn.
func (b *bench) loopback() error {
	p := b.plan
	var tests []test
	for _, t := range []test{
		{"down", func(s *subject) (result.Measurement, error) { return bulk(s, false, 1, p.warm, p.window) }},
		{"down", func(s *subject) (result.Measurement, error) { return bulk(s, false, 8, p.warm, p.window) }},
		{"up", func(s *subject) (result.Measurement, error) { return bulk(s, true, 1, p.warm, p.window) }},
		{"up", func(s *subject) (result.Measurement, error) { return bulk(s, true, 8, p.warm, p.window) }},
		{"conn", func(s *subject) (result.Measurement, error) { return connections(s, 8, p.window) }},
		{"keepalive", func(s *subject) (result.Measurement, error) { return latencies(s, 1, p.warm, p.window) }},
		{"keepalive", func(s *subject) (result.Measurement, error) { return latencies(s, 4, p.warm, p.window) }},
		{"busy", func(s *subject) (result.Measurement, error) { return busy(s, 1, p.warm, p.window) }},
	} {
		if b.has(t.name) {
			tests = append(tests, t)
		}
	}
	if len(tests) == 0 {
		return nil
	}
	subjects, stop, err := b.startAll(loopback())
	if err != nil {
		return err
	}
	defer stop()
	return b.inTurn("loopback", subjects, tests)
}

// inTurn runs tests, all subjects in turn.
func (b *bench) inTurn(what string, subjects []*subject, tests []test) error {
	for round := 1; round <= b.plan.rounds; round++ {
		b.say("# %s, round %d of %d, after %v", what, round, b.plan.rounds, time.Since(b.began).Round(time.Second))
		for _, t := range tests {
			for i := range subjects {
				// Each round begins with another subject.
				s := subjects[(i+round-1)%len(subjects)]
				if s.name == haproxyPipes && t.name != "down" && t.name != "up" {
					continue
				}
				if err := b.measure(t, s, round); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// startAll starts all subjects at a place.
func (b *bench) startAll(at place) (all []*subject, stop func(), err error) {
	stop = func() {
		for _, s := range all {
			s.stop()
		}
	}
	for _, what := range b.subjects {
		s, err := b.start(what, at)
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, s)
	}
	return all, stop, nil
}
