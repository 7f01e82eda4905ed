package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/probe"
	"keystay/internal/proxydial"
	"keystay/internal/statement"
	"keystay/remote"
	"keystay/remote/watch"
)

const (
	// firstLook is how long the start screen waits for what the watch has found.
	firstLook = 3 * time.Second
	// alarmGrace is how long the end of the program waits for commands and webhooks.
	alarmGrace = 90 * time.Second
)

// Why the watch does not look at a name.
const (
	lookIsOff       = "not looked at: the watch is off"
	lookIsElsewhere = "not looked at: behind tls:// the key is the service's own"
	lookIsForTLS    = "not looked at: a TCP port shows no key"
)

// A lookout is the watch of a process.
type lookout struct {
	alarms  *watch.Alarms
	outside *watch.Watch     // nil where it is off
	answers *watch.Answers   // nil where nobody may ask
	stop    chan watch.Alarm // that end the program
}

// newLookout makes the watch that a configuration wants. Proxy is that of the device.
func newLookout(p *process, proxy func(*http.Request) (*url.URL, error)) (*lookout, error) {
	cfg := p.cfg
	if proxy == nil {
		proxy = proxydial.FromEnvironment
	}
	l := &lookout{stop: make(chan watch.Alarm, 1)}
	l.alarms = &watch.Alarms{Dir: filepath.Join(cfg.StateDir, "evidence"), Run: cfg.InterceptRun, Post: string(cfg.InterceptPost), Proxy: proxy, Logger: p.log}
	if err := alarmProgram(cfg); err != nil {
		p.log.Warn("the program of --on-intercept-run cannot be run", "err", err, hint.Attr(hint.All(err)))
	}
	if cfg.OnIntercept == "stop" {
		l.alarms.Stop = func(a watch.Alarm) {
			select {
			case l.stop <- a:
			default: // it ends already
			}
		}
	}
	if cfg.Probe == "off" {
		return l, nil
	}
	l.outside = &watch.Watch{Alarms: l.alarms, Logger: p.log}
	l.outside.Resolvers = []watch.Resolver{{Name: cmp.Or(cfg.DNS, "the system"), Lookup: lookup(nil), Services: services(cfg.DNS)}}
	if cfg.ProbeDNS != "" && cfg.ProbeDNS != cfg.DNS {
		l.outside.Resolvers = append(l.outside.Resolvers, watch.Resolver{Name: cfg.ProbeDNS, Lookup: lookup(resolver(cfg.ProbeDNS)), Services: services(cfg.ProbeDNS)})
	}
	l.outside.Ways = []watch.Way{{Dial: p.mayDial(dialBy(proxy, cfg.DNS))}}
	for _, s := range cfg.ProbeProxies {
		u, err := url.Parse(string(s))
		if err != nil {
			return nil, errors.New("--probe-proxy: this is no URL") // the text of err repeats it
		}
		l.outside.Ways = append(l.outside.Ways, watch.Way{Name: u.Host, Names: true, Dial: p.mayDial((&proxydial.Proxy{URL: u}).Dial)})
	}
	if len(cfg.ProbeWith) > 0 {
		p.cross(l)
	}
	return l, nil
}

// alarmProgram looks whether the program that an alarm is to start is there.
func alarmProgram(cfg *config.Remote) error {
	if len(cfg.InterceptRun) == 0 {
		return nil
	}
	_, err := exec.LookPath(cfg.InterceptRun[0])
	return hint.AlarmProgram.Error(err)
}

// cross lets the other remotes of the owner look for this one, and this one for them.
func (p *process) cross(l *lookout) {
	labels := make(map[string]bool)
	for _, w := range p.cfg.ProbeWith {
		labels[w.Label] = true
		l.outside.Peers = append(l.outside.Peers, watch.Peer{Name: w.Name, Port: w.Port, Label: w.Label})
	}
	l.outside.Sign = func(q probe.Question) (doc, hash []byte) { return p.device.SignQuestion(q) }
	l.answers = &watch.Answers{Watch: l.outside,
		Sign: func(a probe.Answer) []byte { return p.device.SignAnswer(a) },
		Trusted: func(key ed25519.PublicKey) bool {
			return labels[keyname.Label(key, "")] || labels[""] && key.Equal(p.device.PublicKey())
		}}
}

// question answers other remotes that ask at a name; it is nil where none may.
func (l *lookout) question(ln *remote.Listener) func(context.Context, []byte) ([]byte, error) {
	if l.answers == nil {
		return nil
	}
	return func(ctx context.Context, question []byte) ([]byte, error) {
		return l.answers.Answer(ctx, ln.Domain(), question)
	}
}

// lookup returns what looks a name up by a resolver; nil is the program's own.
func lookup(r *net.Resolver) func(context.Context, string) ([]netip.Addr, error) {
	return func(ctx context.Context, name string) ([]netip.Addr, error) {
		by := cmp.Or(r, net.DefaultResolver)
		ips, err := by.LookupNetIP(ctx, "ip", name+".") // the dot keeps search domains out of it
		for i := range ips {
			ips[i] = ips[i].Unmap()
		}
		return ips, err
	}
}

// services returns what asks the DNS server at an address, ip:port, for HTTPS records; an
// empty one are the servers of the system.
func services(server string) func(context.Context, string, int) ([]watch.Service, error) {
	by := new(domainproof.Resolver)
	if at, err := domainproof.ParseServer(server); err == nil {
		by.Servers = []netip.AddrPort{at}
	}
	return func(ctx context.Context, name string, port int) (all []watch.Service, err error) {
		found, err := by.Services(ctx, name, port)
		for _, s := range found {
			all = append(all, watch.Service(s))
		}
		if e, ok := errors.AsType[*domainproof.Error](err); ok && e.Silent {
			return all, nil // as for a browser
		}
		return all, err
	}
}

// mayDial is dial for the addresses that the device may look at.
func (p *process) mayDial(dial func(context.Context, string) (net.Conn, error)) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		if at, err := netip.ParseAddrPort(address); err == nil && !p.device.MayDial(at.Addr()) {
			return nil, watch.ErrNear
		}
		return dial(ctx, address)
	}
}

// whyNotLooked says why the watch does not look at a name; empty where it does.
func (p *process) whyNotLooked(passed, port bool) string {
	switch {
	case port:
		return lookIsForTLS
	case p.lookout.outside == nil:
		return lookIsOff
	case passed:
		return lookIsElsewhere
	}
	return ""
}

// lookAt has the watch look at a name that answers, until it ends. The result
// of the first round goes to found.
func (p *process) lookAt(pub *published, s start, found chan<- string) {
	if why := p.whyNotLooked(s.passed, s.port); why != "" {
		found <- why
		return
	}
	n := p.watchedName(pub.ln)
	n.HTTP = pub.site != nil
	n.Told = func(r *watch.Round) {
		pub.keep(r)
		select {
		case found <- r.Text():
		default: // only the first round is waited for
		}
	}
	select {
	case <-pub.again: // the link that is there
	default:
	}
	p.work.Go(func() { p.lookout.outside.Run(pub.watching, n, pub.again) })
}

// keep keeps what a look has found.
func (p *published) keep(r *watch.Round) {
	if r.State() == watch.Intercepted {
		p.alarm.Store(r)
	}
	p.round.Store(r)
}

// watchedName is what the watch knows of a listener's name.
func (p *process) watchedName(ln *remote.Listener) *watch.Name {
	return &watch.Name{
		Domain: ln.Domain(),
		Port:   func() int { return portOf(ln.Addr().String()) },
		Beside: ln.Ports,
		Key: func() (key [sha256.Size]byte, ok bool) {
			cert := ln.Certificate()
			if cert == nil {
				return key, false
			}
			return statement.KeyOf(cert), true
		},
		Ends:     func() watch.Ends { return ln.NoteEnds() },
		Replica:  p.now().Replica,
		Identity: p.device.PublicKey,
	}
}

// portOf is the port of an address that has one.
func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}

// hear lets the watch look again at a name whose link has come up.
func (p *process) hear(e remote.Event) {
	if e.Kind != remote.Connected {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pub := range p.names {
		if pub.ln.Domain() == e.Name {
			select {
			case pub.again <- struct{}{}:
			default: // it is about to
			}
		}
	}
}

// intercepted is the error with which an alarm ends the program.
func intercepted(a watch.Alarm) error {
	err := fmt.Errorf("%s is intercepted: %s", a.Name, a.Text)
	return &cli.Error{Code: cli.ExitForeign, Err: hint.Intercepted.Error(err, "NAME", a.Name)}
}

// awaitAlarms waits until commands and webhooks have been told, for a while.
func (p *process) awaitAlarms() {
	ctx, cancel := context.WithTimeout(p.cut, alarmGrace)
	defer cancel()
	p.lookout.alarms.Shutdown(ctx)
}
