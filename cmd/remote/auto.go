package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"keystay/config"
	"keystay/internal/hint"
	"keystay/internal/proxydial"
	"keystay/internal/relaylist"
	"keystay/remote"
	"keystay/remote/relays"
)

// withTaken puts the relay that was taken out of a list in the place of "auto", if one
// was.
func withTaken(cfg *config.Remote) error {
	if !cfg.RelayAuto {
		return nil
	}
	taken, err := relays.Keep{StateDir: cfg.StateDir}.Taken()
	if taken != nil {
		cfg.Relays = []string{taken.Relay}
	}
	return err
}

// loaded is withTaken of what was loaded.
func loaded(cfg *config.Remote, warnings []config.Warning, err error) (*config.Remote, []config.Warning, error) {
	if err == nil {
		err = withTaken(cfg)
	}
	return cfg, warnings, err
}

// newChooser returns what takes a relay out of the list of a configuration.
func newChooser(cfg *config.Remote) (*relays.Chooser, error) {
	dc, err := deviceConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	c := &relays.Chooser{Source: relays.Source{List: cfg.RelayList}, Keep: relays.Keep{StateDir: cfg.StateDir}, Need: need(cfg)}
	for _, s := range cfg.RelayListKeys {
		key, err := relaylist.ParseKey(s)
		if err != nil {
			return nil, err
		}
		c.Source.Keys = append(c.Source.Keys, key)
	}
	choose := dc.Proxy
	if choose == nil {
		choose = proxydial.FromEnvironment
	}
	c.Source.Dial = dialBy(choose, cfg.DNS)
	c.Ask = func(ctx context.Context, relay string) (remote.About, error) {
		about, err := remote.AskRelay(ctx, dc, remote.Route{Candidates: []string{relay}})
		return about, asked(err, cfg.DNS)
	}
	c.Try = func(ctx context.Context, relay string) error {
		ctx, cancel := context.WithTimeout(ctx, linkTimeout)
		defer cancel()
		_, err := remote.TryLink(ctx, dc, remote.Route{Candidates: []string{relay}})
		return asked(err, cfg.DNS)
	}
	return c, nil
}

// need is what the names of a configuration need of a relay of a list.
func need(cfg *config.Remote) relays.Need {
	n := relays.Need{HasToken: func(relay string) bool { return remote.HasToken(cfg.StateDir, relay) }}
	for _, s := range cfg.Services {
		if len(s.Relays) > 0 {
			continue
		}
		n.Ports = n.Ports || s.Port != 0
		n.KeyName = n.KeyName || s.Port == 0 && len(s.Words) > 0
		n.Domains = append(n.Domains, s.Domains...)
	}
	slices.Sort(n.Domains)
	n.Domains = slices.Compact(n.Domains)
	return n
}

const (
	// chooseAgain is how long it is waited until a relay is looked for again, where none
	// could be taken; each time twice as long, up to chooseAtMost.
	chooseAgain, chooseAtMost = 5 * time.Second, 5 * time.Minute
)

// takeRelay takes a relay out of the list, if the configuration says so and none was
// taken yet. It tries until one is, or the run ends. An error is one that does not pass.
func (p *process) takeRelay() error {
	if !p.cfg.RelayAuto || len(p.cfg.Relays) > 0 {
		return nil
	}
	chooser, err := newChooser(p.cfg)
	if err != nil {
		return err
	}
	ctx := p.drain
	if p.cfg.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Wait)
		defer cancel()
	}
	taken, look, err := p.keepTaking(ctx, chooser)
	switch {
	case p.drain.Err() != nil:
		return nil
	case errors.Is(err, relays.ErrForeign):
		return err
	case err != nil:
		return fmt.Errorf("no relay is taken after %v: %w", p.cfg.Wait, err)
	}
	if look.First {
		p.log.Warn("the key of the list is trusted from now on, since none was given", "list", p.cfg.RelayList, "key", look.Seen.Key)
	}
	p.log.Info("a relay is taken out of the list, and kept", "relay", taken.Relay, "why", taken.Why, "list", taken.List)
	p.cfg.Relays = []string{taken.Relay}
	return nil
}

// keepTaking is takeRelay until a relay is taken, ctx ends, or there is an error that
// does not pass.
func (p *process) keepTaking(ctx context.Context, chooser *relays.Chooser) (taken relays.Taken, look *relays.Look, err error) {
	if p.live != nil {
		p.live.early.Store(true)
		defer p.live.early.Store(false)
	}
	p.log.Info("looking for a relay", "list", p.cfg.RelayList)
	for wait := chooseAgain; ; wait = min(2*wait, chooseAtMost) {
		if look, err = chooser.Look(ctx); err == nil {
			taken, err = chooser.Take(ctx, look, false)
		}
		if err == nil || errors.Is(err, relays.ErrForeign) {
			return taken, look, err
		}
		if ctx.Err() == nil {
			p.log.Warn("no relay is taken yet; trying again", "err", err, "in", wait, hint.Attr(hint.All(err)))
		}
		select {
		case <-ctx.Done():
			return taken, look, err
		case <-time.After(wait):
		}
	}
}

const (
	// awayAfter is how long the relay that was taken may be away until more is said of
	// it than that it is dialled again, and awayAgain how long until that is repeated.
	awayAfter, awayAgain = 30 * time.Minute, 24 * time.Hour
	// awayLook is how often it is looked whether there is a link.
	awayLook = time.Minute
)

// watchTaken says what can be done where the relay that was taken is away for long, until
// ctx ends.
func (p *process) watchTaken(ctx context.Context) {
	cfg := p.now()
	if !cfg.RelayAuto {
		return
	}
	relay := cfg.Relays[0]
	tellAway(ctx, p.log, relay, func() bool {
		return slices.ContainsFunc(p.device.Links(), func(l remote.LinkStatus) bool { return l.Relay == relay })
	})
}

// tellAway is watchTaken of a relay, to which there is a link while up says so.
func tellAway(ctx context.Context, log *slog.Logger, relay string, up func() bool) {
	tick := time.NewTicker(awayLook)
	defer tick.Stop()
	seen, told := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch now := time.Now(); {
		case up():
			seen, told = now, time.Time{}
		case now.Sub(seen) >= awayAfter && (told.IsZero() || now.Sub(told) >= awayAgain):
			told = now
			log.Warn("the relay that was taken is not reached", "relay", relay, "for", now.Sub(seen), hint.Attr(hint.TakenAway.With("RELAY", relay)))
		}
	}
}
