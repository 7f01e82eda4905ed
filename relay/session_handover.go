package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay/names"
)

// retireAfter is how long links of an identity that has handed over may stay that
// serve names and have not said that they go: another process of the device may have
// to be told of its new key.
const retireAfter = 5 * time.Minute

// succeed gives the session's identity what the earlier ones of a claim's hand-overs
// have here: in the record, and where they are connected.
func (sess *session) succeed(ctx context.Context, c framing.Claim, asks names.Claimant) error {
	s := sess.srv
	list := c.Handovers.For(sess.key)
	if err := sess.shown.verify(list, sess.key); err != nil {
		return &framing.Denial{Name: c.Name, Code: framing.DeniedHandover, Text: err.Error()}
	}
	var from []ed25519.PublicKey
	for _, h := range list {
		from = append(from, bytes.Clone(h.Old)) // not to keep the record alive
	}
	var retired []ed25519.PublicKey
	err := names.Sure(ctx, s.Names, func() (err error) {
		retired, err = s.Names.HandOver(asks, from)
		return err
	})
	if err != nil {
		return told(err)
	}
	if len(retired) > 0 {
		s.cuts.Add(1) // a claim of theirs that is under way is decided again
		s.presence.inherit(retired, sess.key, s.Domain)
	}
	for _, old := range retired {
		s.bounds.owners.Inherit(old, sess.key)
		sess.log().Info("an identity has handed over to this one", "old", keyname.Label(old, ""))
		s.cutter.retireLater(old)
	}
	return nil
}

// maxShown is how many different lists of hand-overs a link may show. A remote has one,
// and dials again with a new key.
const maxShown = 8

// shown are the lists of hand-overs that a link has shown, and what they are worth: to
// check the signatures of one takes longer than all else of a claim, and a remote shows
// the same one with each of its claims.
type shown []shownList

type shownList struct {
	sum [sha256.Size]byte
	err error // why it does not hold
}

// verify is that of the list, which leads to key, once for each list.
func (all *shown) verify(list framing.Handovers, key ed25519.PublicKey) error {
	h := sha256.New()
	for i := range list {
		h.Write(list[i].Old)
		h.Write(list[i].OldSigned)
		h.Write(list[i].NewSigned)
	}
	l := shownList{sum: [sha256.Size]byte(h.Sum(nil))}
	if i := slices.IndexFunc(*all, func(o shownList) bool { return o.sum == l.sum }); i >= 0 {
		return (*all)[i].err
	}
	if len(*all) == maxShown {
		return errTooManyShown
	}
	l.err = list.Verify(key)
	*all = append(*all, l)
	return l.err
}

var errTooManyShown = errors.New("too many different hand-overs were shown on this link")

// inherit makes an identity the owner of the names that earlier ones are connected
// for. Their sessions keep serving each until the heir's claim of it, see take.
func (p *presence) inherit(from []ed25519.PublicKey, heir ed25519.PublicKey, zone string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, old := range from {
		p.retiresLocked(old)
		for _, s := range p.of[string(old)] {
			for _, name := range s.names {
				h := p.names[name]
				if h != nil && h.key.Equal(old) && !provesKey(name, zone) {
					h.passTo(heir)
					p.tell(name)
				}
			}
		}
	}
}

// pass makes an identity the owner of a name that it has, where one is connected for it
// that has handed over: only the record says by now to whom.
func (p *presence) pass(name string, from, to ed25519.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.names[name]; h != nil && h.key.Equal(from) {
		h.passTo(to)
		p.tell(name)
	}
}

// passTo makes a name another identity's. Its run may have been replaced before it had the new
// key: that a newer one has that key is yet to be seen.
func (h *served) passTo(heir ed25519.PublicKey) {
	h.key, h.replaced = heir, nil
}

// provesKey reports whether a name is made from a key, or below such a one: then it is
// no heir's.
func provesKey(name, zone string) bool {
	below, ok := strings.CutSuffix(name, "."+zone)
	return ok && keyname.Is(below[strings.LastIndexByte(below, '.')+1:])
}

// retireLater calls retire after retireAfter.
func (k *cutter) retireLater(key ed25519.PublicKey) {
	time.AfterFunc(retireAfter, func() { k.retire(key) })
}

// retire cuts the sessions of an identity that has handed over, but those that have
// said that they go away: these have visitors alone.
func (k *cutter) retire(key ed25519.PublicKey) {
	defer k.panics.Catch("cutting the links of an identity that has handed over", func() {})
	if k.ctx.Err() != nil {
		return
	}
	why := *names.HandedOver("")
	n := &severing{names: make(map[string]struct{})}
	for _, sess := range k.presence.all(key) {
		if !sess.away.Load() {
			sess.dismiss(why, n).close(why)
		}
	}
}
