package remote

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"

	"keystay/framing"
	"keystay/internal/keyname"
)

// Which name wants which relay. A way is begun with the first name that wants its
// relay, and ends when the last one does not any more. All of this is guarded by
// Device.mu.

// A route is a relay that a name wants: how a way is found or made for it.
type route struct {
	candidates []string // the relay, or where it may be, in the order to try
	addresses  []string // to dial instead of the relay's own; may be empty
	named      bool     // by the owner, now or when this relay gave the name before
}

// routes returns where a name that is served so leads, and without relays to the one
// that a climb from domain finds.
func routes(how served, domain string, addresses []string) ([]route, error) {
	if len(how.Relays) > 1 && len(addresses) > 0 && len(addresses) != len(how.Relays) {
		return nil, fmt.Errorf("listen: %d relays and %d addresses of them", len(how.Relays), len(addresses))
	}
	var list []route
	for i, relay := range how.Relays {
		r := route{candidates: []string{relay}, addresses: addresses, named: how.Named}
		if len(how.Relays) > 1 && len(addresses) > 0 {
			r.addresses = addresses[i : i+1]
		}
		list = append(list, r)
	}
	if len(list) > 0 {
		return list, nil
	}
	candidates := climb(domain)
	if len(candidates) == 0 {
		return nil, fmt.Errorf("%s: %w", domain, errNoneAbove)
	}
	return []route{{candidates: candidates, addresses: addresses}}, nil
}

// Listen begins to serve names, and returns a listener for each, in their order. It
// returns at once, before a relay has been reached: Listener.Wait tells when a name
// answers. Names may be added as long as the device runs. All names with the same
// relay share its links.
//
// After an error that may pass the device tries again for ever. An error that will not
// pass, such as a *framing.Denial, ends one listener alone, whose Accept and Wait
// return it; where a name has several relays, when the last of them refuses it. The
// error of Listen is an *InUseError when this device serves one of the names already,
// and wraps [net.ErrClosed] after Close; then none of the names is served.
func (d *Device) Listen(names ...Name) ([]*Listener, error) {
	var list []*Listener
	var ways [][]route
	for _, n := range names {
		l, to, err := d.prepare(n)
		if err != nil {
			for _, l := range list {
				l.discard()
			}
			return nil, err
		}
		list, ways = append(list, l), append(ways, to)
	}
	if !d.want(list, ways) {
		for _, l := range list {
			l.discard()
		}
		return nil, fmt.Errorf("listen: %w", net.ErrClosed)
	}
	return list, nil
}

// want makes ways claim the names of new listeners. It reports false when the device
// has stopped.
func (d *Device) want(list []*Listener, ways [][]route) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	for i, l := range list {
		for _, r := range ways[i] {
			d.wantLocked(l, r)
		}
	}
	return true
}

// prepare makes the listener of a name, which nothing wants yet.
func (d *Device) prepare(n Name) (*Listener, []route, error) {
	if err := n.Rules.Check(); err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	if len(n.Relays) == 0 {
		n.Relays = d.cfg.Relays
		if len(n.RelayAddresses) == 0 {
			n.RelayAddresses = d.cfg.RelayAddresses
		}
	}
	n.Raw = n.Raw || n.Port != 0
	domain, how, err := d.state.choose(n)
	if err != nil {
		return nil, nil, err
	}
	d.tellStrays()
	to, err := routes(how, domain, n.RelayAddresses)
	if err != nil {
		return nil, nil, err
	}
	if domain == "" {
		host, _ := splitRelay(how.Relays[0])
		how.Made = true
		domain = keyname.Label(d.state.keys.public(), how.Word) + "." + host
	}
	l := newListener(d, n, domain, how)
	for _, r := range to {
		l.relays = append(l.relays, r.candidates...)
	}
	if l.unlock, err = d.state.lockName(domain); err != nil {
		return nil, nil, err
	}
	if was, err := d.state.served(domain); err == nil { // else it is made anew
		l.kept.relays = was.Relays
	}
	d.mu.Lock()
	d.listeners[domain] = l // orders of its certificate look for it
	d.mu.Unlock()
	if err := l.openCertificate(); err != nil {
		l.discard()
		return nil, nil, err
	}
	return l, to, nil
}

// discard undoes prepare.
func (l *Listener) discard() {
	l.cancel(net.ErrClosed)
	l.endLate()
	l.d.remove(l)
	_ = l.unlock()
}

// wantLocked makes a way claim the name of l, one that is there or a new one.
func (d *Device) wantLocked(l *Listener, r route) {
	i := slices.IndexFunc(d.ways, func(w *way) bool {
		return slices.Equal(w.candidates, r.candidates) && slices.Equal(w.addresses, r.addresses)
	})
	var w *way
	if i >= 0 {
		w = d.ways[i]
	} else {
		w = newWay(d, r)
		d.ways = append(d.ways, w)
		d.wg.Go(w.run)
	}
	w.wants[l] = r.named
	l.wanted++
	w.tellLocked()
}

// unwantLocked lets a way claim the name of l no more, and ends the way if that was its
// last name.
func (d *Device) unwantLocked(w *way, l *Listener) {
	if _, wants := w.wants[l]; !wants {
		return
	}
	delete(w.wants, l)
	dropGone(w, l)
	delete(l.said.by, w)
	l.wanted--
	if len(w.wants) > 0 {
		w.tellLocked()
		return
	}
	w.end()
	d.ways = slices.DeleteFunc(d.ways, func(o *way) bool { return o == w })
}

// unwant lets no way claim the name of l any more.
func (d *Device) unwant(l *Listener) {
	d.mu.Lock()
	ways := slices.Clone(d.ways)
	for _, w := range ways {
		d.unwantLocked(w, l)
	}
	d.mu.Unlock()
	for _, w := range ways {
		w.tellings.forget(l) // there may be no session that does
	}
}

// refuse notes that a relay will not give the name of l. The listener ends with it if
// no relay is left. That a newer run has the name is said by each relay for itself, and
// believed of that one alone: else any relay could take the name off the others.
func (d *Device) refuse(w *way, l *Listener, why error) {
	l.kept.lose(relayHost(w.host()), why)
	d.mu.Lock()
	_, wants := w.wants[l]
	d.unwantLocked(w, l)
	left := l.wanted
	d.mu.Unlock()
	// Else something older could be told after this.
	w.tellings.forget(l)
	if !wants { // it was told before, of another link
		return
	}
	d.log.Error("the relay will not serve this name", "name", l.domain, "relay", w.name(), "err", why)
	d.tell(Event{Kind: Refused, Name: l.domain, Relay: w.name(), Err: why})
	if left == 0 {
		l.end(why)
		return
	}
	l.links.noteLoss(why)
	l.noteURL()
}

// refuseAll notes that a relay will not have this device.
func (d *Device) refuseAll(w *way, why error) {
	for _, l := range w.wanted() {
		d.refuse(w, l, why)
	}
}

// join notes that a way has reached its relay. If another way leads there, the names
// of the first become those of the other one, so that all share its links; then join
// reports true, and the first way has ended.
func (d *Device) join(w *way, relay string) (joined bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.ways {
		if o == w || !o.leadsTo(relay) || !slices.Equal(o.addresses, w.addresses) {
			continue
		}
		o.bind(relay)
		for l, named := range maps.Clone(w.wants) {
			if _, both := o.wants[l]; !both {
				l.wanted++
			}
			o.wants[l] = o.wants[l] || named
			d.unwantLocked(w, l)
		}
		o.tellLocked()
		return true
	}
	w.answered(relay)
	return false
}

// relaysOf lists the relays that l wants, for people.
func (d *Device) relaysOf(l *Listener) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.ways {
		if _, wants := w.wants[l]; wants {
			names = append(names, w.name())
		}
	}
	return names
}

// isEverywhere reports whether each relay that l wants has given it the name.
func (d *Device) isEverywhere(l *Listener) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !slices.ContainsFunc(d.ways, func(w *way) bool {
		_, wants := w.wants[l]
		return wants && !w.has(l)
	})
}

// siblings are the names of the other relays that l wants, as the relay of this way is told
// them. Where another one is still being looked for it is left out.
func (w *way) siblings(l *Listener) (list []string) {
	if w.d.cfg.NoSiblings || l.isPort() {
		return nil
	}
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	for _, o := range w.d.ways {
		if _, wants := o.wants[l]; !wants || o == w {
			continue
		}
		if host := o.host(); host != "" && !slices.Contains(list, host) {
			list = append(list, host)
		}
	}
	return list[:min(len(list), framing.MaxSiblings)]
}

// goodbye ends a link in good order, once its visitors have left. Why is for the relay.
func (d *Device) goodbye(link *framing.Link, why string) {
	ctx, cancel := context.WithTimeout(d.late, lateTimeout)
	defer cancel()
	_ = link.GoAway(ctx, framing.GoAway{Code: framing.GoAwayShutdown, Text: why})
	_ = link.WaitIdle(d.cut)
	if d.ctx.Err() != nil { // the device has stopped meanwhile: one more visitor may come until late
		<-d.late.Done()
		_ = link.WaitIdle(d.cut)
	}
	link.Close() // drain may not know the link any more
}
