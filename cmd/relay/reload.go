package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"keystay/config"
	"keystay/internal/hint"
	"keystay/relay/names"
)

// A liveSetting is one whose change the running relay takes up. A key that ends in a
// bracket stands for the members of that list, and one that ends in a dot for all
// below it.
type liveSetting struct {
	key  string
	take func(to, from *config.Relay)
}

// live are all of them. What else they touch than the configuration, apply sets.
var live = []liveSetting{
	{"tokens[", func(to, from *config.Relay) { to.Tokens = from.Tokens }},
	{"names.policy", func(to, from *config.Relay) { to.Names.Policy = from.Names.Policy }},
	{"names.key_names", func(to, from *config.Relay) { to.Names.KeyNames = from.Names.KeyNames }},
	{"names.reserved", func(to, from *config.Relay) { to.Names.Reserved = from.Names.Reserved }},
	{"names.expire_unused", func(to, from *config.Relay) { to.Names.ExpireUnused = from.Names.ExpireUnused }},
	{"names.certificates_per_week", func(to, from *config.Relay) { to.Names.CertificatesPerWeek = from.Names.CertificatesPerWeek }},
	{"names.custom_domains", func(to, from *config.Relay) { to.Names.CustomDomains = from.Names.CustomDomains }},
	{"names.resolvers", func(to, from *config.Relay) { to.Names.Resolvers = from.Names.Resolvers }},
	{"names.webhook.", func(to, from *config.Relay) { to.Names.Webhook = from.Names.Webhook }},
	{"limits.", func(to, from *config.Relay) { to.Limits = from.Limits }},
	{"admin.password_file", func(to, from *config.Relay) {
		to.Admin.PasswordFile, to.Admin.Users = from.Admin.PasswordFile, from.Admin.Users
	}},
	{"site.words_file", func(to, from *config.Relay) { to.Site = from.Site }},
	{"proxy_protocol.", func(to, from *config.Relay) { to.ProxyProtocol = from.ProxyProtocol }},
	{"siblings[", func(to, from *config.Relay) { to.Siblings = from.Siblings }},
	{"static[", func(to, from *config.Relay) { to.Static = from.Static }},
	{"fallback.", func(to, from *config.Relay) { to.Fallback = from.Fallback }},
	{"cluster.public", func(to, from *config.Relay) { to.Cluster.Public = from.Cluster.Public }},
	{"cluster.region", func(to, from *config.Relay) { to.Cluster.Region = from.Cluster.Region }},
	{"cluster.weight", func(to, from *config.Relay) { to.Cluster.Weight = from.Cluster.Weight }},
	{"log.level", func(to, from *config.Relay) { to.Log.Level = from.Log.Level }},
	{"drain_timeout", func(to, from *config.Relay) { to.DrainTimeout = from.DrainTimeout }},
	{"takeover_drain", func(to, from *config.Relay) { to.TakeoverDrain = from.TakeoverDrain }},
	{"reload", func(to, from *config.Relay) { to.Reload = from.Reload }},
}

// isLive reports whether the running relay takes up a change of a key.
func isLive(key string) bool {
	return slices.ContainsFunc(live, func(l liveSetting) bool {
		return key == l.key || strings.ContainsAny(l.key[len(l.key)-1:], "[.") && strings.HasPrefix(key, l.key)
	})
}

// A loaded configuration is one that is in effect, and where it came from.
type loaded struct {
	cfg      *config.Relay
	settings []config.Setting
}

// now returns the configuration in effect: of what is not live, that of the start.
func (p *process) now() *loaded {
	if l := p.reloaded.Load(); l != nil {
		return l
	}
	return &loaded{p.cfg, p.settings}
}

// apply makes the configuration that is read from now on that of what runs already.
func (p *process) apply(cfg *config.Relay) {
	p.outside.configure(cfg) // before the rules, by which it is asked
	p.srv.Names.SetRules(rules(cfg, cfg.Tokens))
	p.srv.SetLimits(limitsOf(cfg.Limits))
	p.srv.SetWords(cfg.Site.Words)
	p.page.SetUsers(cfg.Admin.Users)
	p.srv.SetFront(frontOf(cfg))
	p.srv.SetSiblings(siblingsOf(cfg))
	if p.node != nil {
		p.node.SetAbout(aboutNode(cfg))
	}
	if p.level != nil {
		_ = p.level.UnmarshalText([]byte(cfg.Log.Level)) // it is checked
	}
}

// reload reads again what can change while the relay runs: the configuration and the
// files that it names. What cannot be used leaves what is in use.
func (p *process) reload() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if p.left.Load() { // the new process does that
		return
	}
	something := p.cert.reload()
	if now := p.now().cfg; p.file == "" && len(now.Tokens) == 0 && now.Admin.PasswordFile == "" && now.Site.WordsFile == "" {
		if !something {
			p.log.Info("SIGHUP: there is nothing to reload; without a file the configuration is read at the start")
		}
		return
	}
	cfg, settings, warnings, err := p.load()
	var wrong config.Errors
	switch {
	case errors.As(err, &wrong):
		for _, e := range wrong {
			where := *e
			where.Hints = nil
			p.log.Error("the configuration is not reloaded; the one from before is in use", "err", where.Error(), "key", e.Key, hint.Attr(e.Hints))
		}
		return
	case err != nil:
		p.log.Error("the configuration is not reloaded; the one from before is in use", "err", err)
		return
	}
	was := p.now()
	changed, kept := changes(was.settings, settings)
	renew := cfg.Reload == "takeover" && len(kept) > 0 && p.canTakeOver(kept)
	for _, s := range kept {
		if renew {
			p.log.Info("a setting that has changed takes a takeover, which begins now", "key", s.Key, "said_by", s.From, "line", s.Line)
			continue
		}
		p.log.Warn("a setting that has changed takes a restart, or a takeover; its old value stays", "key", s.Key, "said_by", s.From, "line", s.Line, hint.Attr(hint.NotLive.Do))
	}
	next := *was.cfg
	for _, l := range live {
		l.take(&next, cfg)
	}
	p.reloaded.Store(&loaded{&next, merged(was.settings, settings)})
	p.apply(&next)
	p.cutStatic(was.cfg, &next)
	warn(p.log, warnings)
	if len(next.Tokens) > 0 {
		p.log.Info("tokens reloaded", "tokens", len(next.Tokens))
	}
	if len(changed) == 0 {
		changed = []string{"nothing"}
	}
	p.log.Info("configuration reloaded", "changed", strings.Join(changed, " "))
	if renew {
		select {
		case p.renew <- struct{}{}:
		default: // one is asked for already
		}
	}
}

// canTakeOver reports whether a new process with these changes can take over: it finds
// the old one by its state directory, and not every system has takeovers.
func (p *process) canTakeOver(changed []config.Setting) bool {
	return p.upgrade != nil && !slices.ContainsFunc(changed, func(s config.Setting) bool { return s.Key == "state_dir" })
}

// changes returns the keys that are live and have another value now, and the settings
// that are not live and would have.
func changes(old, fresh []config.Setting) (changed []string, kept []config.Setting) {
	values := make(map[string]string)
	for _, s := range old {
		values[s.Key] = s.Value
	}
	for _, s := range fresh {
		was, ok := values[s.Key]
		delete(values, s.Key)
		switch {
		case ok && was == s.Value:
		case isLive(s.Key):
			changed = append(changed, s.Key)
		default:
			kept = append(kept, s)
		}
	}
	for _, s := range old { // those that are gone
		if _, gone := values[s.Key]; gone && isLive(s.Key) {
			changed = append(changed, s.Key)
		}
	}
	return changed, kept
}

// merged returns the settings in effect: the fresh ones of what is live, and the old
// ones of what is not.
func merged(old, fresh []config.Setting) (list []config.Setting) {
	for _, s := range fresh {
		i := slices.IndexFunc(old, func(o config.Setting) bool { return o.Key == s.Key })
		switch {
		case isLive(s.Key):
			list = append(list, s)
		case i >= 0:
			list = append(list, old[i])
		}
	}
	return list
}

// watchInterval is how often it is looked whether the configuration's file has
// changed. It is taken once it has stayed the same for as long, so that no half of a
// file is. Looking finds what an editor renames into place, what a link is turned to,
// as in Kubernetes, and what changes on a file system that tells of nothing.
const watchInterval = 2 * time.Second

// watch reloads when the configuration's file changes, until ctx ends.
func (p *process) watch(ctx context.Context) {
	if p.file == "" {
		return
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	taken, _ := os.Stat(p.file)
	last := taken
	missing := 0 // how often in a row it was not there
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		is, err := os.Stat(p.file)
		if err != nil { // it is being replaced, or gone
			if missing++; missing == 2 {
				p.log.Warn("the configuration's file cannot be read; what was read before is in use, but a restart would fail", "err", err)
			}
			continue
		}
		missing = 0
		if !same(is, taken) && same(is, last) {
			taken = is
			p.log.Info("the configuration's file has changed", "file", p.file)
			p.reload()
		}
		last = is
	}
}

// same reports whether two looks at a file have found the same.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// warn logs what whoever runs the relay should know of the configuration.
func warn(log *slog.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.Warn(w.Message, "key", w.Key, hint.Attr(w.Hints))
	}
}

// rules are what decides about names.
func rules(cfg *config.Relay, list []config.Token) names.Rules {
	n := cfg.Names
	keyNames := names.Policy(n.KeyNames)
	if n.KeyNames == "off" {
		keyNames = names.Closed
	}
	return names.Rules{
		Policy:              names.Policy(n.Policy),
		Tokens:              tokens(list),
		KeyNames:            keyNames,
		Reserved:            n.Reserved,
		ExpireUnused:        n.ExpireUnused,
		CertificatesPerWeek: n.CertificatesPerWeek,
		NamesPerIdentity:    cfg.Limits.Identity.Names,
		PortsPerIdentity:    cfg.Limits.Identity.Ports,
		Static:              staticNames(cfg),
		NoDomains:           !n.CustomDomains,
		NoQuestions:         n.Webhook.URL == "",
	}
}

func tokens(from []config.Token) []names.Token {
	list := make([]names.Token, len(from))
	for i, t := range from {
		list[i] = names.Token{Secret: string(t.Secret), Names: t.Names}
	}
	return list
}
