package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// tellEnd tells serve of a name's end, unless it was asked for.
func (p *process) tellEnd(pub *published) {
	<-pub.served
	if pub.closing.Load() {
		return
	}
	select {
	case p.ended <- pub:
	case <-p.drain.Done():
	}
}

// serve goes on until a signal comes or no name is left, and returns why, with its exit
// code.
func (p *process) serve() error {
	wait := p.now().Wait
	var late <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	codes := make(map[int]bool) // of the names that have ended
	for {
		select {
		case <-p.drain.Done():
			return nil
		case <-late:
			if err := p.tooLate(wait); err != nil {
				return err
			}
		case a := <-p.lookout.stop:
			return intercepted(a)
		case pub := <-p.ended:
			err := finalError(pub.err, p.now().Token != "")
			codes[exitCode(err)] = true
			p.containers.drop(pub.name)
			switch left := p.remove(pub); {
			case left > 0 || p.containers != nil:
				p.log.Error("a name is not served; the others go on", "name", pub.ln.Domain(), "err", err, hint.Attr(hint.All(err)))
			case len(codes) == 1:
				return err
			case codes[cli.ExitReplaced]:
				return &cli.Error{Code: cli.ExitReplaced, Err: err}
			default:
				return &cli.Error{Code: cli.ExitFailed, Err: err}
			}
		}
	}
}

// exitCode is the program's where it ends with err.
func exitCode(err error) int {
	if e, ok := errors.AsType[*cli.Error](err); ok {
		return e.Code
	}
	return cli.ExitFailed
}

// remove forgets a name that has ended, and returns how many are left.
func (p *process) remove(pub *published) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names[pub.name] == pub {
		delete(p.names, pub.name)
	}
	p.showAll()
	p.work.Go(func() {
		_ = pub.finish(p.cut, func(context.Context) error { return pub.ln.Close() })
	})
	return len(p.names)
}

// missing returns the names that do not answer yet, in order. The caller has locked p.
func (p *process) missing() (all []*published) {
	for _, pub := range p.names {
		if !pub.up.Load() {
			all = append(all, pub)
		}
	}
	slices.SortFunc(all, func(a, b *published) int { return strings.Compare(a.ln.Domain(), b.ln.Domain()) })
	return all
}

// tooLate says which names do not answer after that time, and why.
func (p *process) tooLate(wait time.Duration) error {
	p.mu.Lock()
	missing := p.missing()
	p.mu.Unlock()
	over, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	var errs []error
	for _, pub := range missing {
		if err := pub.ln.Wait(over); err != nil {
			errs = append(errs, p.unanswered(pub.ln.Domain(), wait, err))
		}
	}
	if len(errs) == 1 {
		return finalError(errs[0], p.now().Token != "")
	}
	return errors.Join(errs...)
}

// unanswered is the error of a name that does not answer after that time.
func (p *process) unanswered(domain string, wait time.Duration, err error) error {
	return fmt.Errorf("%s does not answer after %v: %w", domain, wait, p.askedDNS(err))
}

// askedDNS is asked with the server of --dns.
func (p *process) askedDNS(err error) error { return asked(err, p.now().DNS) }

// finish ends all names in good order. Err says why, where it was no signal; then
// visitors are cut at once, unless it is that a relay gives the names to nobody or to
// another run.
func (p *process) finish(err error) {
	p.mu.Lock()
	p.over = true
	names := slices.Collect(maps.Values(p.names))
	limit := p.cfg.DrainTimeout
	p.mu.Unlock()
	p.endDrain()
	end, cancel := context.WithTimeout(p.cut, limit)
	defer cancel()
	defer cli.TellDrain(p.log, limit, p.device.Visitors)()
	if code := exitCode(err); err != nil && code != cli.ExitReplaced && code != cli.ExitRefused {
		cancel() // nothing is served any more
	} // else the relay leads visitors elsewhere, and those that are here are served to their end
	gone := make(chan struct{})
	var cutOff error
	p.work.Go(func() {
		defer close(gone)
		cutOff = p.device.Shutdown(end)
	})
	for _, pub := range names {
		p.work.Go(func() {
			_ = pub.finish(end, func(context.Context) error { <-gone; return nil })
		})
	}
	p.work.Wait()
	if cutOff != nil && err == nil {
		p.log.Warn("visitors were cut off", "err", cli.CutReason(cutOff, limit))
	}
}
