package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/budget"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
	"keystay/remote/publish/folder"
)

// A process is one run of the remote.
type process struct {
	load func() (*config.Remote, []config.Warning, error)
	file string         // of the configuration, or ""
	cfg  *config.Remote // in effect

	out        *os.File // for what is published
	log        *slog.Logger
	level      *slog.LevelVar // of log; nil where there are sentences
	people     *people        // the sentences of log, where it has some
	live       *live          // the live screen; nil where there are lines
	maker      *maker
	device     *remote.Device
	lookout    *lookout
	counted    *figures    // nil where nothing is counted
	containers *containers // which say what is published; nil where the configuration does
	homes      homes
	inspection *inspection // nil where requests are not inspected
	ended      chan *published
	began      time.Time
	drain, cut context.Context
	endDrain   context.CancelFunc
	endCut     context.CancelFunc

	mu    sync.Mutex // of all below, and of changes of the configuration
	names map[name]*published
	work  sync.WaitGroup // of names that are waited for, or end
	over  bool           // no name is begun any more
	wrong bool           // the configuration was, when it was last read

	shown    []start // of names that answer, until the start screen is complete
	complete bool
}

func run(ctx context.Context, p *process, warnings []config.Warning) (ended error) {
	hangups, stopHangups := cli.Hangups()
	var reloads sync.WaitGroup
	defer func() {
		stopHangups()
		reloads.Wait()
	}()
	if err := p.prepare(warnings); err != nil {
		p.endScreen(err)
		return cli.Usage(err)
	}
	drain, cut, stop := cli.Signals(context.WithoutCancel(ctx))
	defer stop()
	p.cut, p.endCut = context.WithCancel(cut)
	defer p.endCut()
	p.drain, p.endDrain = context.WithCancel(drain)
	defer p.endDrain()
	defer context.AfterFunc(ctx, p.endDrain)() // a service manager ends it as SIGTERM does
	defer runtime.KeepAlive(budget.Ballast())
	if err := p.takeRelay(); err != nil || p.drain.Err() != nil {
		p.endScreen(err)
		return err
	}
	counted, err := openFigures(p.cfg.Metrics)
	if err != nil {
		p.endScreen(err)
		return err
	}
	p.counted = counted
	err = p.open()
	defer p.inspection.close()
	defer p.counted.close()
	if err != nil {
		p.endScreen(err)
		return listenError(p.cfg, err)
	}
	p.counted.serve(p)
	if p.live == nil { // which has a key that opens it
		p.inspection.tell(p.out)
	}
	levers := p.openLevers()
	defer levers.close()
	p.startScreen()
	defer func() { p.endScreen(ended) }()
	reloads.Go(func() {
		for range hangups {
			p.reload()
		}
	})
	reloads.Go(func() { p.watch(p.drain) })
	reloads.Go(func() { p.watchCT(p.drain) })
	reloads.Go(func() { p.watchTaken(p.drain) })
	if p.containers != nil {
		reloads.Go(func() { p.containers.follow(p.drain, p) })
	}
	err = p.serve()
	p.finish(err)
	p.homes.close()
	p.awaitAlarms()
	return err
}

// prepare makes what the configuration says, before anything is dialled or written. An
// error is a mistake in it.
func (p *process) prepare(warnings []config.Warning) error {
	if err := p.openLog(); err != nil {
		return err
	}
	p.log = askedLog(p.log, p.cfg.DNS)
	logWarnings(p.log, warnings)
	budget.LimitRuntime()
	useDNS(p.cfg.DNS)
	return trial(p.file, p.cfg)
}

// openLog makes the log on stderr, and for the live screen: sentences where a person at
// a terminal has not asked for a log, the log elsewhere.
func (p *process) openLog() error {
	tell := lines(os.Stderr, func() int { return cli.Width(os.Stderr) })
	if p.wantsScreen() {
		p.live = newLive()
		tell = p.live.tell
	}
	p.people = newPeople(tell)
	if !p.cfg.LogAsked && isTerminal(os.Stderr) && isTerminal(p.out) {
		p.log = slog.New(p.people)
		return nil
	}
	p.level = new(slog.LevelVar)
	if err := p.level.UnmarshalText([]byte(p.cfg.LogLevel)); err != nil {
		return err
	}
	p.log = cli.LoggerAt(os.Stderr, p.level, p.cfg.LogFormat)
	if p.live != nil {
		p.log = slog.New(slog.NewMultiHandler(p.log.Handler(), p.people))
		return nil
	}
	p.people = nil
	return nil
}

// logWarnings logs what whoever runs the remote should know of the configuration.
func logWarnings(log *slog.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.Warn(w.Message, "key", w.Key, hint.Attr(w.Hints))
	}
}

// A wanted is a name that is to be served, and what is ready for it.
type wanted struct {
	name    name
	service config.Service
	files   *acme.Files
}

// want returns the names of some services, with their certificates.
func (p *process) want(cfg *config.Remote) (all []wanted, err error) {
	for _, s := range cfg.Services {
		files, err := certFiles(cfg, s, p.log)
		if err != nil {
			return nil, err
		}
		for _, n := range namesOf(s) {
			all = append(all, wanted{n, s, files})
		}
	}
	return all, nil
}

// open begins to serve all names.
func (p *process) open() error {
	dc, err := deviceConfig(p.cfg, p.log)
	if err != nil {
		return err
	}
	p.maker = newMaker(p.cfg, p.log)
	p.maker.stateDir, p.maker.never, p.maker.counts = p.cfg.StateDir, folder.NewNever(p.cfg.StateDir), p.counted.counts()
	if p.inspection, err = newInspection(p.cfg.Inspect, p.maker); err != nil {
		return err
	}
	all, err := p.want(p.cfg)
	if err != nil {
		return err
	}
	if p.lookout, err = newLookout(p, dc.Proxy); err != nil {
		return err
	}
	dc.Events, dc.Figures = p.hear, p.counted.counted()
	if p.device, err = remote.Open(dc); err != nil {
		return err
	}
	p.ended = make(chan *published)
	p.began = time.Now()
	p.names = make(map[name]*published)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(all); err != nil {
		_ = p.device.Close()
		return err
	}
	p.homes.device, p.homes.log = p.device, p.log
	if err := p.homes.set(p.cfg.Listen); err != nil {
		_ = p.device.Close()
		return err
	}
	if p.people != nil {
		var domains []string
		for _, w := range all {
			domains = append(domains, p.names[w.name].ln.Domain())
		}
		shown := strings.Join(domains, ", ")
		if len(domains) > 5 {
			shown = fmt.Sprintf("%d names", len(domains))
		}
		p.people.begin(p.cfg, shown)
	}
	return nil
}

// begin serves some names more. The caller has locked p.
func (p *process) begin(all []wanted) error {
	var names []remote.Name
	var fronts []*front
	for _, w := range all {
		f, err := p.maker.front(w.service, cmp.Or(w.name.domain, nobody))
		if err != nil {
			return err
		}
		fronts = append(fronts, f)
		names = append(names, remoteName(w.name, w.service, f, w.files))
	}
	listeners, err := p.device.Listen(names...)
	if err != nil {
		return err
	}
	of := make(map[*acme.Files][]string)
	for i, w := range all {
		if w.files != nil {
			of[w.files] = append(of[w.files], listeners[i].Domain())
			w.files.SetNames(of[w.files]...)
		}
		f := fronts[i]
		if w.name.domain == "" { // only now its name is known
			if f, err = p.maker.front(w.service, listeners[i].Domain()); err != nil {
				return err
			}
		}
		pub := publishName(w.name, w.service, f, w.files, listeners[i], p.lookout, p.live, p.inspection)
		p.names[w.name] = pub
		p.work.Go(func() { p.waitFor(pub) })
		p.work.Go(func() { p.tellEnd(pub) })
	}
	return nil
}

// now returns the configuration in effect.
func (p *process) now() *config.Remote {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg
}
