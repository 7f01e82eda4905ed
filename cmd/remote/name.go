package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"keystay/acme"
	"keystay/config"
	"keystay/framing"
	"keystay/internal/httpdrain"
	"keystay/remote"
	"keystay/remote/publish"
	"keystay/remote/publish/raw"
	"keystay/remote/watch"
)

// A name is one public name of a service, as the configuration says it.
type name struct {
	domain string // or, where it is empty, the name made from the key
	word   string // and this word
	port   uint16 // or a public TCP port, by the number that is asked for; else 0
	relays string // the service's own
}

// shown is the name for people, before it is known.
func (n name) shown() string {
	switch {
	case n.port != 0:
		return fmt.Sprintf("a TCP port such as %d", n.port)
	case n.domain != "":
		return n.domain
	case n.word != "":
		return "the name made from the key and " + n.word
	}
	return "the name made from the key"
}

// namesOf returns the names of a service.
func namesOf(s config.Service) (names []name) {
	relays := strings.Join(s.Relays, " ")
	if isPort(s) {
		return []name{{port: s.Port, relays: relays}}
	}
	for _, d := range s.Domains {
		names = append(names, name{domain: d, relays: relays})
	}
	for _, w := range s.Words {
		names = append(names, name{word: w, relays: relays})
	}
	return names
}

// shownLocal is where the visitors of a service go, for people.
func shownLocal(s config.Service) string {
	if s.Raw != nil {
		return s.Raw.String()
	}
	if len(s.Routes) == 1 && s.Routes[0].Path == "/" {
		return s.Routes[0].Local.String()
	}
	var routes []string
	for _, r := range s.Routes {
		routes = append(routes, r.Path+" "+r.Local.String())
	}
	return strings.Join(routes, ", ")
}

// A published is a name that is served.
type published struct {
	name name
	ln   *remote.Listener
	wg   sync.WaitGroup // of visitors of raw services, and of what looks after services

	// These change with the configuration, one change at a time.
	service config.Service
	files   *acme.Files // nil where ACME gives the certificate

	front    atomic.Pointer[front]
	site     *publish.Site     // nil where a raw service takes what has no rule
	srv      *httpdrain.Server // of site
	watching context.Context   // of what looks after services
	unwatch  context.CancelFunc
	look     context.CancelFunc // ends what looks after the raw ones

	uninspect func() // requests of the site are not repeated any more

	again   chan struct{} // for the watch: a link has come up
	served  chan struct{} // closed when no more visitors are accepted
	err     error         // why, once served is closed
	closing atomic.Bool   // it was asked to end
	up      atomic.Bool   // it has answered

	round atomic.Pointer[watch.Round] // the last look from outside
	alarm atomic.Pointer[watch.Round] // the last one that found the name intercepted

	unreached atomic.Pointer[string] // why the service could not be reached yet; of the live screen
}

// remoteName is what the device is told of a name.
func remoteName(n name, s config.Service, f *front, files *acme.Files) remote.Name {
	rn := remote.Name{
		Domain: n.domain, Word: n.word, Port: n.port,
		Relays: s.Relays, RelayAddresses: s.RelayAddresses,
		Service: shownLocal(s),
		Raw:     isPassed(s),
		Rules:   rules(s), Handshake: f.handshake(),
	}
	if files != nil {
		rn.TLS = files.TLSConfig()
	}
	return rn
}

// isPassed reports whether what visitors of a service send gets to it as it is, with
// their TLS if they speak that: there is no certificate here.
func isPassed(s config.Service) bool {
	return s.Raw != nil && s.Raw.Kind == config.LocalTLS || isPort(s)
}

// isPort reports whether a service is behind a public TCP port.
func isPort(s config.Service) bool { return s.Port != 0 }

func rules(s config.Service) framing.Rules { return framing.Rules{Allow: s.Allow, Deny: s.Deny} }

// handshake is how visitors' TLS is agreed on.
func (f *front) handshake() remote.Handshake {
	h := remote.Handshake{ClientCAs: f.clientCAs}
	if f.raw != nil || len(f.others) > 0 {
		h.Protocols = f.protocols.Choose
	}
	return h
}

// publishName begins to serve the visitors of a listener.
func publishName(n name, s config.Service, f *front, files *acme.Files, ln *remote.Listener, l *lookout, seen *live, in *inspection) *published {
	p := &published{name: n, ln: ln, service: s, files: files, again: make(chan struct{}, 1), served: make(chan struct{}), uninspect: func() {}}
	p.front.Store(f)
	if f.raw == nil {
		c := f.site
		c.Statement, c.Question = ln.Statement, l.question(ln)
		if seen != nil {
			c.Observer = observers(c.Observer, seen.traffic.observer(ln.Domain(), c.Question != nil))
		}
		p.site = publish.NewSite(ln.Domain(), c)
		p.uninspect = in.add(ln.Domain(), p.site)
		p.srv = httpdrain.New(p.site.Server())
	}
	p.watching, p.unwatch = context.WithCancel(context.Background())
	if p.site != nil {
		p.wg.Go(func() { p.site.Watch(p.watching) })
	}
	p.watchRaw(f)
	go func() {
		p.err = p.serve()
		close(p.served)
	}()
	return p
}

// watchRaw looks after the raw services of a front, and no longer after those of the
// front before.
func (p *published) watchRaw(f *front) {
	if p.look != nil {
		p.look()
	}
	var ctx context.Context
	ctx, p.look = context.WithCancel(p.watching)
	for _, t := range f.targets() {
		p.wg.Go(func() { t.Watch(ctx) })
	}
}

// targets are the raw services of a front.
func (f *front) targets() []*raw.Target {
	if f.raw == nil {
		return f.others
	}
	return append([]*raw.Target{f.raw}, f.others...)
}

// serve hands visitors on until there will be no more, and returns why.
func (p *published) serve() error {
	f := p.front.Load()
	listeners := []net.Listener{p.ln}
	if len(f.others) > 0 {
		listeners = raw.Split(p.ln, func(protocol string) int { return p.front.Load().protocols.Service(protocol) }, len(f.others)+1)
	}
	errs := make(chan error, len(listeners))
	for i, ln := range listeners {
		go func() {
			if i == 0 && p.srv != nil {
				errs <- p.srv.Serve(publish.Visitors(ln))
				return
			}
			errs <- p.pass(ln, func(f *front) *raw.Target {
				if i == 0 {
					return f.raw
				}
				return f.others[i-1]
			})
		}()
	}
	var err error
	for range listeners {
		err = cmp.Or(err, <-errs)
	}
	return err
}

// pass hands the connections of a listener on as they are, to what is there at that
// time.
func (p *published) pass(ln net.Listener, target func(*front) *raw.Target) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		p.wg.Go(func() { target(p.front.Load()).ServeConn(c) })
	}
}

// canTake reports whether another service can take the place of the one that is served
// without a new listener.
func (p *published) canTake(s config.Service) bool {
	kind := func(l *config.Local) config.LocalKind {
		if l == nil {
			return config.LocalHTTP
		}
		return l.Kind
	}
	named := func(all []config.Protocols) (names [][]string) {
		for _, a := range all {
			names = append(names, a.Names)
		}
		return names
	}
	old := p.service
	return kind(old.Raw) == kind(s.Raw) && old.Cert == s.Cert && old.Key == s.Key &&
		slices.Equal(old.Relays, s.Relays) && slices.Equal(old.RelayAddresses, s.RelayAddresses) &&
		reflect.DeepEqual(named(old.ALPN), named(s.ALPN))
}

// take puts a service in the place of the one that is served. Nothing is cut.
func (p *published) take(s config.Service, f *front) {
	old := p.front.Load()
	f.keep(old, p.service, s)
	if p.site != nil {
		p.site.Set(f.site)
	}
	p.front.Store(f)
	if !slices.Equal(f.targets(), old.targets()) {
		p.watchRaw(f)
	}
	p.ln.SetHandshake(f.handshake())
	_ = p.ln.SetRules(rules(s)) // they are checked
	p.service = s
}

// keep takes over the raw services that have not changed, which know their visitors.
func (f *front) keep(old *front, was, is config.Service) {
	if was.ProxyProtocol != is.ProxyProtocol {
		return
	}
	if f.raw != nil && reflect.DeepEqual(was.Raw, is.Raw) {
		f.raw = old.raw
	}
	for i := range f.others { // as many as before, see canTake
		if reflect.DeepEqual(was.ALPN[i].Local, is.ALPN[i].Local) {
			f.others[i] = old.others[i]
		}
	}
}

// finish ends what is served in good order, until ctx ends. Meanwhile end ends the
// listener: it cuts, and not the server, whose Close would end the answers that are
// under way as if they were whole. Finish returns what end does.
func (p *published) finish(ctx context.Context, end func(context.Context) error) error {
	p.closing.Store(true)
	p.unwatch()
	gone := make(chan error, 1)
	go func() { gone <- end(ctx) }()
	p.uninspect()
	<-p.served // by now it has taken the visitors that were on their way
	if p.srv != nil {
		_ = p.srv.Shutdown(ctx) // the listener's error says how many visitors were cut
	}
	err := <-gone
	if p.srv != nil {
		_ = p.srv.Close()
	}
	p.wg.Wait()
	return err
}
