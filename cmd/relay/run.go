package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"keystay/config"
	"keystay/internal/budget"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay"
	"keystay/relay/names"
	"keystay/relay/operator"
	"keystay/relay/operator/page"
)

// run runs a process that has its configuration, from the start to the end.
func run(ctx context.Context, p *process, warnings []config.Warning, takeover bool) (err error) {
	p.level = new(slog.LevelVar)
	if err := p.level.UnmarshalText([]byte(p.cfg.Log.Level)); err != nil {
		return cli.Usage(err)
	}
	log := cli.LoggerAt(os.Stderr, p.level, p.cfg.Log.Format)
	warn(log, warnings)
	drain, cut, stop := cli.Signals(ctx)
	defer stop()
	hangups, stopHangups := cli.Hangups()
	p.log, p.upgrade, p.renew, p.failed, p.asked = log, upgradeSignal(), make(chan struct{}, 1), make(chan error, 1), make(chan struct{})
	defer func() {
		stopHangups()
		p.close(err)
	}()
	if p.program, err = programPath(); err != nil {
		return err
	}
	if err := p.open(takeover); err != nil {
		return err
	}
	if err := p.serve(); err != nil {
		return err
	}
	p.wg.Go(func() {
		for range hangups {
			p.reload()
		}
	})
	drain, stopAsked := p.askedToDrain(drain)
	defer stopAsked()
	old, err := p.wait(drain, cut)
	switch {
	case err != nil:
		return err
	case old != nil:
		err = p.leave(drain, cut, old)
	default:
		err = p.drain(cut)
	}
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// A process is one run of the relay, from its start to its end or to the start
// of a new process that takes over.
type process struct {
	cfg      *config.Relay    // of the start; see now
	settings []config.Setting // each key of cfg, and where it was said
	file     string           // that cfg was read from; may be empty
	load     func() (*config.Relay, []config.Setting, []config.Warning, error)
	log      *slog.Logger
	level    *slog.LevelVar   // of log; may be nil
	upgrade  <-chan os.Signal // asks this process to start a new one
	renew    chan struct{}    // asks for the same by a reload; has room for one
	program  string           // the file of the new process

	cert     *ownCert
	takeover *takeover // what this process, as the new one, has from the old; or nil
	outside  outside   // who is asked about names
	grants   *nameRecord
	sockets  []socket
	ports    []relay.PortListener // that the old process has handed over
	control  *control             // nil where there is none
	node     *node                // nil on one machine
	srv      *relay.Server
	audit    *operator.Audit
	api      *operator.Server // it has a socket where there can be one
	page     *page.Page       // on the admin address

	reloading sync.Mutex             // one reload at a time
	reloaded  atomic.Pointer[loaded] // see now
	left      atomic.Bool            // a new process has taken over

	asked      chan struct{} // closed when the operator asks to drain
	drainOnce  sync.Once
	drainUntil time.Time // set before asked is closed

	failed     chan error // the first of what ends the process
	wg         sync.WaitGroup
	stopReopen func() // ends an attempt to open grants again; may be nil

	stopAnnounce context.CancelFunc // ends announce and watch; may be nil
}

// open prepares everything, so that a mistake is found before anything is
// served.
func (p *process) open(takeover bool) (err error) {
	if err := os.MkdirAll(p.cfg.StateDir, 0o700); err != nil {
		return stateError(p.cfg.StateDir, fmt.Errorf("make state_dir: %w", err))
	}
	if err := ownfile.Exposed(p.cfg.StateDir); err != nil {
		p.log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	for _, folder := range []string{"acme", clusterDir} {
		ownfile.SweepTree(filepath.Join(p.cfg.StateDir, folder)) // keys, of a process that was killed
	}
	if p.cert, err = newOwnCert(p.cfg, p.log); err != nil {
		return stateError(p.cfg.StateDir, err)
	}
	handed, err := activated(p.cfg)
	if err != nil {
		return err
	}
	if takeover {
		closeAll(handed)
		if p.takeover, err = takeOver(p.cfg.StateDir); err != nil {
			return err
		}
		p.ports, handed = portSockets(p.takeover.sockets)
	}
	if p.grants, err = openRecord(p.cfg, p.log); err != nil {
		closeAll(handed)
		return stateError(p.cfg.StateDir, err)
	}
	if p.node, err = openNode(p.cfg, p.grants.nodes(), p.log); err != nil {
		closeAll(handed)
		return err
	}
	if p.sockets, err = listen(p.cfg, handed, p.log); err != nil {
		return err
	}
	p.openControl()
	p.audit = operator.OpenAudit(p.cfg.StateDir, p.log)
	if p.grants.etcd != nil {
		p.audit.Shared, p.audit.Node = p.grants.etcd.Audit(), p.cfg.Cluster.Node
	}
	p.openServer()
	p.api = p.newAPI()
	p.openPage()
	p.openAPI()
	return nil
}

// openServer makes the server, with what the configuration says, and the node with it.
func (p *process) openServer() {
	memory := p.memory() // before the next line, which it would see
	budget.LimitRuntime()
	p.srv = &relay.Server{
		Domain:      p.cfg.Domain,
		TLS:         p.cert.tlsConfig(),
		Challenge:   http.HandlerFunc(p.cert.challenge),
		Names:       &names.Names{Rules: rules(p.cfg, p.cfg.Tokens), Grants: p.grants.Store, Ports: tcpPorts(p.cfg)},
		ListenPort:  listenPort(p.cfg),
		Memory:      memory,
		DefaultName: p.cfg.DefaultName,
		PublicPort:  publicPort(p.sockets),
		NoLanes:     p.cfg.Lanes == "off",
		Abuse:       p.cfg.Abuse,
		Version:     cli.Version(),

		Profiles:        p.cfg.Admin.Pprof,
		NamedMetrics:    p.cfg.Metrics.PerName,
		CertificateEnds: p.cert.ends,
		Logger:          p.log,
	}
	p.srv.SetLimits(limitsOf(p.cfg.Limits))
	p.srv.SetWords(p.cfg.Site.Words)
	p.srv.SetFront(frontOf(p.cfg))
	p.srv.SetSiblings(siblingsOf(p.cfg))
	p.outside.domains = newDomains(p.cfg)
	p.outside.configure(p.cfg)
	p.srv.Names.Prove, p.srv.Names.Ask = p.outside.domains.prove, p.outside.ask
	p.srv.Names.OnChange, p.srv.OnBanned = p.noteChange, p.noteBanned
	if p.takeover != nil {
		p.srv.OnClaim = p.takeover.claimed
		p.srv.OnCut = p.cutOld
	}
	if p.node != nil {
		p.node.attach(p.srv, p.takeover)
	}
}

// memory is what links and visitors may make the process hold. More than there is
// would be no limit at all.
func (p *process) memory() int64 {
	if p.cfg.Memory == 0 {
		return relay.DefaultMemory()
	}
	if there, from := budget.Available(); p.cfg.Memory > there {
		p.log.Warn(fmt.Sprintf("memory is %d MiB, and this process may have %d MiB in all", p.cfg.Memory>>20, there>>20),
			"key", "memory", "from", from, hint.Attr(hint.MemoryNotThere.Do))
	}
	return p.cfg.Memory
}

// serve begins to serve: a new process once the old one has agreed to it.
func (p *process) serve() error {
	if p.takeover != nil {
		p.srv.Expect(p.takeover.names)
		if err := p.takeover.ready(); err != nil {
			return err
		}
		// In this order, so that remotes find a certificate at once.
		if err := p.cert.manage(); err != nil {
			return err
		}
		if err := p.takeover.serving(); err != nil {
			return err
		}
		p.own()
		p.srv.AdoptPorts(p.ports)
		p.wg.Go(func() { p.fail(p.takeover.visitors(p.srv, p.log)) })
	}
	for _, s := range p.sockets {
		p.wg.Go(func() { p.fail(p.serveSocket(s)) })
	}
	if p.takeover != nil {
		p.log.Info("has taken over from the old process", "names", len(p.takeover.names))
	} else if err := p.cert.manage(); err != nil { // the CA's validation can arrive now
		return err
	}
	if p.node != nil {
		if err := p.node.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stopAnnounce = cancel
	p.wg.Go(func() { budget.GiveBack(ctx) })
	p.wg.Go(func() { p.announce(ctx) })
	p.wg.Go(func() { p.page.Run(ctx) })
	p.wg.Go(func() { p.watch(ctx) })
	return nil
}

func (p *process) serveSocket(s socket) error {
	switch s.what {
	case "public":
		return p.srv.Serve(s.ln)
	case "http":
		return p.srv.ServeHTTP01(s.ln)
	case "api":
		return p.api.Serve(s.ln)
	case nodeSocket:
		return p.node.serve(s.ln)
	}
	return p.srv.ServeAdmin(s.ln, p.cert.ready)
}

// fail notes why the process cannot go on, if it cannot.
func (p *process) fail(err error) {
	if err == nil || errors.Is(err, relay.ErrServerClosed) || errors.Is(err, http.ErrServerClosed) {
		return
	}
	select {
	case p.failed <- err:
	default:
	}
}

// stateError says what to do about a state_dir that cannot be used.
func stateError(dir string, err error) error {
	var wrongUse *cli.Error
	var path *os.PathError
	switch {
	case errors.As(err, &wrongUse):
		return err
	case errors.Is(err, names.ErrInUse):
		return hint.StateInUse.Error(err)
	case errors.Is(err, syscall.EROFS):
		return hint.ReadOnly.Error(err, "DIR", dir)
	case errors.Is(err, os.ErrPermission):
		file := dir
		if errors.As(err, &path) {
			file = path.Path
		}
		if explained := ownfile.ExplainState(err, file, dir); len(hint.All(explained)) > 0 {
			return explained
		}
		if info, serr := os.Stat(file); serr == nil && info.Mode().IsRegular() {
			return hint.FileRights.Error(err, "FILE", file)
		}
		return hint.RelayState.Error(err, "DIR", dir)
	case errors.Is(err, syscall.ENOSPC):
		return hint.StateFull.Error(err, "DIR", dir)
	case len(hint.All(err)) > 0:
		return err
	case ownfile.Dangling(dir) != nil:
		return fmt.Errorf("%w: %w", err, ownfile.Dangling(dir))
	case errors.As(err, &path): // a file is in the way, or there can be no folder
		return hint.StatePlace.Error(err, "DIR", dir)
	}
	return err
}
