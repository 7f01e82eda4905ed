package main

import (
	"context"
	"time"

	"keystay/remote/publish/folder"
)

// checkTimeout is how long the start screen waits for the local services.
const checkTimeout = 2 * time.Second

// waitFor waits until a name answers, and says so. Why it will not, tellEnd hears.
func (p *process) waitFor(pub *published) {
	if pub.ln.Wait(p.drain) != nil {
		return
	}
	s := start{url: pub.ln.URL(), cert: pub.ln.Certificate(), stateDir: p.now().StateDir}
	p.mu.Lock()
	s.local, s.brought, s.passed, s.port = shownLocal(pub.service), pub.files != nil, isPassed(pub.service), isPort(pub.service)
	p.mu.Unlock()
	found := make(chan string, 1)
	p.lookAt(pub, s, found)
	if p.live != nil {
		pub.up.Store(true)
		p.live.tellPublic(s)
		p.awaitService(pub)
		return
	}
	if isTerminal(p.out) {
		s.outside = p.awaitLook(found)
		s.service = pub.front.Load().check(p.drain, pub.ln.Domain())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pub.up.Store(true)
	if p.names[pub.name] == pub {
		p.show(s)
	}
}

// awaitLook returns what the watch has found, where it finds it soon.
func (p *process) awaitLook(found <-chan string) string {
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	select {
	case text := <-found:
		return text
	case <-timer.C:
	case <-p.drain.Done():
	}
	return "being looked at; what is found stands in the lines that follow"
}

// check looks whether the services of a front can be reached.
func (f *front) check(ctx context.Context, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, t := range f.targets() {
		if err := t.Check(ctx); err != nil {
			return err
		}
	}
	for _, r := range f.site.Routes {
		var err error
		if r.Target != nil {
			err = r.Target.Check(ctx, domain)
		} else if dir, ok := r.Handler.(*folder.Folder); ok {
			err = dir.Check(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
