package main

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/hint"
	"keystay/internal/plain"
)

// A fixedSetting is one whose change takes a restart.
type fixedSetting struct {
	key string
	of  func(*config.Remote) any
}

// fixed are all settings whose change takes a restart. reload takes up the others.
var fixed = []fixedSetting{
	{"relay", func(c *config.Remote) any { return c.Relays }},
	{"relay_list", func(c *config.Remote) any { return []any{c.RelayAuto, c.RelayList, c.RelayListKeys} }},
	{"relay_address", func(c *config.Remote) any { return c.RelayAddresses }},
	{"relay_root", func(c *config.Remote) any { return c.RelayRoot }},
	{"state_dir", func(c *config.Remote) any { return c.StateDir }},
	{"trust_private_addresses", func(c *config.Remote) any { return c.TrustPrivateAddresses }},
	{"acme", func(c *config.Remote) any {
		return []any{c.ACMECAs, c.ACMERoot, c.ACMEEmail, c.ACMEEABKID, c.ACMEEABHMAC, c.ACMERehearsal}
	}},
	{"ct", func(c *config.Remote) any { return c.CT }},
	{"key_type", func(c *config.Remote) any { return c.KeyType }},
	{"replica", func(c *config.Remote) any { return c.Replica }},
	{"transport", func(c *config.Remote) any { return c.Transport }},
	{"lanes", func(c *config.Remote) any { return c.Lanes }},
	{"siblings", func(c *config.Remote) any { return c.Siblings }},
	{"proxy", func(c *config.Remote) any { return c.Proxy }},
	{"dns", func(c *config.Remote) any { return c.DNS }},
	{"probe", func(c *config.Remote) any { return []any{c.Probe, c.ProbeProxies, c.ProbeWith, c.ProbeDNS} }},
	{"on_intercept", func(c *config.Remote) any { return []any{c.OnIntercept, c.InterceptRun, c.InterceptPost} }},
	{"inspect", func(c *config.Remote) any { return c.Inspect }},
	{"wait", func(c *config.Remote) any { return c.Wait }},
	{"metrics", func(c *config.Remote) any { return c.Metrics }},
	{"plain", func(c *config.Remote) any { return c.Plain }},
	{"log.format", func(c *config.Remote) any { return c.LogFormat }},
}

// A reloaded is what a reload has done: the answer to "remote reload". Fields are added,
// never changed.
type reloaded struct {
	Done    bool      `json:"done"`              // the configuration is taken up; else Wrong or Nothing says why not
	Nothing bool      `json:"nothing,omitempty"` // there is no file to read
	Added   []string  `json:"added,omitempty"`
	Changed []string  `json:"changed,omitempty"`
	Gone    []string  `json:"gone,omitempty"`
	Restart []string  `json:"restart,omitempty"` // settings that have changed and take a restart
	Wrong   []mistake `json:"wrong,omitempty"`
	NewKey  bool      `json:"new_key,omitempty"` // another key of the device is taken up
}

// A mistake is why something was not taken up.
type mistake struct {
	Text string   `json:"text"`
	Do   []string `json:"hints,omitempty"`
}

func (m mistake) Error() string { return plain.Text(m.Text) }

// Hints returns what to do about it, in one line each.
func (m mistake) Hints() []string { return m.Do }

// reload reads the configuration again, and the files that it names. A mistake in any of
// them leaves everything as it is.
func (p *process) reload() (r reloaded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		r.Wrong = []mistake{{Text: "the remote is about to end"}}
		return r
	}
	keyTold := p.takeUpIdentity(&r)
	if p.file == "" && len(p.cfg.Files()) == 0 && p.containers == nil {
		if r.Nothing = true; !keyTold {
			p.log.Info("SIGHUP: there is nothing to reload; without a file settings are read at the start")
		}
		return r
	}
	cfg, warnings, err := p.load()
	if err == nil {
		err = trial(p.file, cfg)
	}
	p.wrong = err != nil
	if p.wrong {
		r.Wrong = append(r.Wrong, p.notReloaded(err)...)
		return r
	}
	r.Done = true
	old := p.cfg
	for _, f := range fixed {
		if !reflect.DeepEqual(f.of(old), f.of(cfg)) {
			p.log.Warn("a setting that has changed takes a restart; its old value stays", "key", f.key)
			r.Restart = append(r.Restart, f.key)
		}
	}
	next := *old
	next.Services, next.Token, next.TokenFile = cfg.Services, cfg.Token, cfg.TokenFile
	next.DrainTimeout, next.LogLevel = cfg.DrainTimeout, cfg.LogLevel
	if err := p.homes.set(cfg.Listen); err != nil {
		p.log.Error("the addresses from before are listened to", "err", err, hint.Attr(hint.All(err)))
		r.Wrong = append(r.Wrong, mistake{err.Error(), hint.All(err)})
	} else {
		next.Listen = cfg.Listen
	}
	p.cfg = &next
	logWarnings(p.log, warnings)
	if p.level != nil {
		_ = p.level.UnmarshalText([]byte(next.LogLevel)) // it is checked
	}
	p.device.SetToken(string(next.Token))
	if next.TokenFile != "" {
		p.log.Info("token reloaded")
	}
	p.change(&r)
	return r
}

// takeUpIdentity makes the run go on with another key, if the state directory has one.
func (p *process) takeUpIdentity(r *reloaded) (told bool) {
	changed, err := p.device.TakeUpIdentity()
	switch {
	case err != nil:
		p.log.Error("the key from before is in use", "err", err, hint.Attr(hint.All(err)))
		r.Wrong = append(r.Wrong, mistake{"the key from before is in use: " + err.Error(), hint.All(err)})
	case changed:
		r.NewKey = true
		p.log.Info("the relays hear of the new key; no visitor is lost")
	}
	return changed || err != nil
}

// notReloaded says what is wrong with the configuration as it is now.
func (p *process) notReloaded(err error) (all []mistake) {
	const message = "the configuration is not reloaded; the one from before is in use"
	var wrong config.Errors
	if !errors.As(err, &wrong) {
		p.log.Error(message, "err", err, hint.Attr(hint.All(err)))
		return []mistake{{err.Error(), hint.All(err)}}
	}
	for _, e := range wrong {
		where := *e
		where.Hints = nil
		p.log.Error(message, "err", where.Error(), "key", e.Key, hint.Attr(e.Hints))
		all = append(all, mistake{where.Error(), e.Hints})
	}
	return all
}

// change makes the names that are served those of the configuration, and says which have
// changed. The caller has locked p.
func (p *process) change(r *reloaded) {
	said := make(map[name]config.Service)
	for _, s := range p.cfg.Services {
		for _, n := range namesOf(s) {
			said[n] = s
		}
	}
	p.reloadFiles(said)
	var anew []name // have a service that takes a new listener
	for n, pub := range p.names {
		s, ok := said[n]
		switch {
		case !ok:
			r.Gone = append(r.Gone, pub.ln.Domain())
			p.succeed(pub, said)
			p.end(pub)
		case !pub.canTake(s):
			r.Changed = append(r.Changed, pub.ln.Domain())
			p.succeed(pub, said)
			p.end(pub)
			anew = append(anew, n)
		default:
			if !reflect.DeepEqual(pub.service, s) {
				r.Changed = append(r.Changed, pub.ln.Domain())
			}
			p.takeUp(pub, s)
		}
	}
	for n, s := range said {
		if p.names[n] != nil {
			continue
		}
		if err := p.beginOne(n, s); err != nil {
			err = listenError(p.cfg, err)
			p.log.Error("a name is not served; the others go on", "name", n.shown(), "err", err, hint.Attr(hint.All(err)))
			r.Wrong = append(r.Wrong, mistake{n.shown() + " is not served: " + err.Error(), hint.All(err)})
			continue
		}
		if !slices.Contains(anew, n) {
			r.Added = append(r.Added, p.names[n].ln.Domain())
		}
	}
	p.log.Info("configuration reloaded", "added", list(r.Added), "changed", list(r.Changed), "gone", list(r.Gone))
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// beginOne serves a name more. The caller has locked p.
func (p *process) beginOne(n name, s config.Service) error {
	files, err := certFiles(p.cfg, s, p.log)
	if err != nil {
		return err
	}
	return p.begin([]wanted{{n, s, files}})
}

// reloadFiles reads again the files of the certificates of names that stay, each once.
// It holds the certificates to the names that are left. The caller has locked p.
func (p *process) reloadFiles(said map[name]config.Service) {
	names := make(map[*acme.Files][]string)
	for n, pub := range p.names {
		if s, ok := said[n]; ok && pub.files != nil && pub.canTake(s) {
			names[pub.files] = append(names[pub.files], pub.ln.Domain())
		}
	}
	for files, of := range names {
		files.SetNames(of...)
		reloadFiles(files, p.log)
	}
}

// takeUp puts a service in the place of the one of a name.
// The caller has locked p.
func (p *process) takeUp(pub *published, s config.Service) {
	f, err := p.maker.front(s, pub.ln.Domain())
	if err != nil { // it has been tried
		p.log.Error("a service is not changed", "name", pub.ln.Domain(), "err", err, hint.Attr(hint.All(err)))
		return
	}
	pub.take(s, f)
}

// succeed makes what has changed of a service count for the visitors who are there, too,
// whose name another listener is about to have: their next requests have its gates.
// The caller has locked p.
func (p *process) succeed(pub *published, said map[name]config.Service) {
	for n, s := range said {
		if pub.site == nil || s.Raw != nil || n.domain != pub.name.domain || n.word != pub.name.word {
			continue
		}
		if f, err := p.maker.front(s, pub.ln.Domain()); err == nil { // it has been tried
			pub.site.Set(f.site)
		}
	}
}

// end takes a name off, whose visitors may finish. The name can be listened to anew as
// soon as end returns. The caller has locked p.
func (p *process) end(pub *published) {
	delete(p.names, pub.name)
	limit := p.cfg.DrainTimeout
	pub.closing.Store(true)
	_ = pub.ln.Close()
	p.work.Go(func() {
		end, cancel := context.WithTimeout(p.cut, limit)
		defer cancel()
		if err := pub.finish(end, pub.ln.Shutdown); err != nil {
			p.log.Warn("visitors were cut off", "name", pub.ln.Domain(), "err", err)
		}
	})
}

// watchInterval is how often it is looked whether the files of the configuration have
// changed. A change is taken once they have stayed the same for as long, so that no half
// of a file is. Looking finds a file that an editor renames into place, a link that leads
// elsewhere, as in Kubernetes, and changes on a file system that gives no notice of them.
const watchInterval = 2 * time.Second

// watch reloads when the configuration's file changes, or one that it names, until ctx
// ends.
func (p *process) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	taken := p.look()
	last := taken
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		is := p.look()
		switch {
		case !same(is, taken) && same(is, last):
			p.log.Info("files of the configuration have changed", "files", strings.Join(differ(is, taken), " "))
			p.reload()
			is = asRead(is, p.look())
			taken = is
		case n%mendedLooks == 0 && p.isMended():
			p.reload()
		}
		last = is
	}
}

// mendedLooks is how many looks there are to one at a configuration that was wrong: it
// may name files that are not looked at, since it is not in effect.
const mendedLooks = 5

// isMended reports whether a configuration that was wrong can be used by now.
func (p *process) isMended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wrong {
		return false
	}
	cfg, _, err := p.load()
	return err == nil && trial(p.file, cfg) == nil
}

// asRead returns how the files were that a reload has read: as they were before it, since
// they may have changed meanwhile, and those that it has found new as they are behind it.
func asRead(before, behind map[string]os.FileInfo) map[string]os.FileInfo {
	for name := range behind {
		if was, ok := before[name]; ok {
			behind[name] = was
		}
	}
	return behind
}

// look returns how the files of the configuration are now; nil stands for one that
// cannot be found.
func (p *process) look() map[string]os.FileInfo {
	p.mu.Lock()
	files := p.cfg.Files()
	p.mu.Unlock()
	if p.file != "" {
		files = append(files, p.file)
	}
	seen := make(map[string]os.FileInfo)
	for _, name := range files {
		seen[name], _ = os.Stat(name)
	}
	return seen
}

// same reports whether two looks have found the same.
func same(a, b map[string]os.FileInfo) bool { return len(differ(a, b)) == 0 }

// differ returns the files that two looks have found different.
func differ(a, b map[string]os.FileInfo) (names []string) {
	for name, x := range a {
		y := b[name]
		if (x == nil) != (y == nil) || x != nil && !(os.SameFile(x, y) && x.ModTime().Equal(y.ModTime()) && x.Size() == y.Size()) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
