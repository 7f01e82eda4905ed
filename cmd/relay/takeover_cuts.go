//go:build linux || darwin || freebsd

package main

import (
	"log/slog"
	"slices"
	"sync"

	"keystay/internal/handover"
	"keystay/internal/hint"
	"keystay/relay"
	"keystay/relay/names"
)

// dueCuts are cuts of identities that the old process is yet to be told.
type dueCuts struct {
	mu      sync.Mutex
	list    []handover.Cut
	busy    bool // tellDue runs
	ended   bool
	telling sync.WaitGroup
	told    map[string]map[string]bool // earlier identities, by the one to which they have handed over; tellDue's
}

// cutOld lets the old process, which may have visitors still, cut what is cut here. It
// cannot look who has handed over to an identity, since its record is closed: so it is told.
func (p *process) cutOld(c relay.Cut) {
	t := p.takeover
	if t.side.Gone() {
		return
	}
	h := handover.Cut{Identity: c.Identity, Name: c.Name, Code: int(c.Why.Code), Text: c.Why.Text, Hints: c.Why.Hints, Earlier: c.Earlier}
	if c.Address.IsValid() {
		h.Address = c.Address.String()
	}
	if c.Addresses.IsValid() {
		h.Addresses = c.Addresses.String()
	}
	if c.Identity == "" || c.Why.Code == 0 { // one that is kicked is, by its own key alone
		h.Earlier = nil
		t.tellCut(h, p.log)
		return
	}
	t.cuts.mu.Lock()
	defer t.cuts.mu.Unlock()
	if t.cuts.ended {
		return
	}
	t.cuts.list = append(t.cuts.list, h)
	if !t.cuts.busy {
		t.cuts.busy = true
		t.cuts.telling.Go(func() { t.tellDue(p.srv.Names, p.log) })
	}
}

// end waits until those are told that are due. Later ones are not.
func (d *dueCuts) end() {
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.telling.Wait()
}

// tellDue tells the old process of the cuts that are due, and of the identities that have
// handed over to those which are cut. These are read once for all that are due, and told once:
// a device may have handed over often, and may lose all its names.
func (t *takeover) tellDue(n *names.Names, log *slog.Logger) {
	d := &t.cuts
	for {
		d.mu.Lock()
		list := d.list
		d.list, d.busy = nil, len(list) > 0
		d.mu.Unlock()
		if len(list) == 0 {
			return
		}
		if t.side.Gone() {
			continue
		}
		of := names.Earlier(n)
		looked := make(map[string]bool)
		for _, h := range list {
			earlier := h.Earlier
			if !looked[h.Identity] {
				looked[h.Identity] = true
				earlier = slices.Concat(earlier, of(h.Identity))
			}
			for left := d.untold(h.Identity, earlier); ; {
				some := min(len(left), handover.MaxEarlier)
				h.Earlier, left = left[:some], left[some:]
				t.tellCut(h, log)
				if len(left) == 0 {
					break
				}
			}
		}
	}
}

// untold returns those of the earlier identities of one that the old process has not been
// told, and notes that it is.
func (d *dueCuts) untold(identity string, earlier []string) (list []string) {
	if d.told == nil {
		d.told = make(map[string]map[string]bool)
	}
	of := d.told[identity]
	if of == nil && len(earlier) > 0 {
		of = make(map[string]bool)
		d.told[identity] = of
	}
	for _, label := range earlier {
		if !of[label] {
			of[label] = true
			list = append(list, label)
		}
	}
	return list
}

func (t *takeover) tellCut(h handover.Cut, log *slog.Logger) {
	if !t.side.Cut(h) {
		log.Warn("the old process is of a version that cannot be told what is cut here: it may go on with it until its visitors have gone", hint.Attr(hint.OldGoesOn.Do))
	}
}
