package names

import (
	"context"
	"crypto/ed25519"
	"errors"
)

// listenElsewhere makes what other processes change in the record count here: see OnMoved
// and OnRetired.
// New bans loadBans finds by itself.
func (n *Names) listenElsewhere() {
	s, shared := n.Grants.(SharedStore)
	if !shared {
		return
	}
	s.Elsewhere(func(t Table, key []byte) {
		switch {
		case t == tableGrants && n.OnMoved != nil:
			n.movedElsewhere(key)
		case t == tableRetired && n.OnRetired != nil && (key == nil || n.keyRetired(key)):
			n.OnRetired(key)
		}
	})
}

// movedElsewhere tells OnMoved of the name that is a key of the grants, or of any.
func (n *Names) movedElsewhere(name []byte) {
	if name == nil {
		n.OnMoved("", nil)
	} else if holder, err := n.holder(string(name)); err == nil {
		n.OnMoved(string(name), holder)
	}
}

// Holder returns the identity that the record gives a name to, or nil. The error says why
// that cannot be told now.
func (n *Names) Holder(name string) (ed25519.PublicKey, error) { return n.holder(name) }

// Whole says why nothing can be claimed now, or nil. Where others change the record, too,
// what they change may not be known here meanwhile. It reads little.
func (n *Names) Whole() error { return n.Grants.Whole() }

// Fresh waits until what others have changed in the record is known here. The error says
// why it may not be.
func (n *Names) Fresh(ctx context.Context) error {
	if s, shared := n.Grants.(SharedStore); shared {
		return s.Fresh(ctx)
	}
	return nil
}

// Sure decides something of which a device that is denied it for good does not ask again. Where
// decide does so by the record, Sure waits for what others have changed, and has it decided once
// more. Where that may not be known here, the error is why, in the place of the *Denied.
func Sure(ctx context.Context, n *Names, decide func() error) error {
	err := decide()
	if !n.Shared() || !forGood(err) {
		return err
	}
	stale := n.Fresh(ctx)
	return doubt(decide(), stale)
}

// doubt returns the error of what was decided after Fresh, or what that has said where the
// error may be wrong for it.
func doubt(err, stale error) error {
	if stale != nil && forGood(err) {
		return stale
	}
	return err
}

// forGood reports whether an error denies something for good, by what the record may have.
func forGood(err error) bool {
	var d *Denied
	if !errors.As(err, &d) {
		return false
	}
	switch d.Code {
	case DeniedTaken, DeniedToken, DeniedClosed, DeniedBanned:
		return true
	}
	return false
}

// newBans returns those that all has and before has not.
func (all *banIndex) newBans(before *banIndex) (list []Ban) {
	if before == nil {
		before = &banIndex{}
	}
	for of, b := range all.names {
		if before.names[of].Ban != b.Ban {
			list = append(list, b.Ban)
		}
	}
	for of, b := range all.identities {
		if before.identities[of].Ban != b.Ban {
			list = append(list, b.Ban)
		}
	}
	for of, b := range all.ranges {
		if before.ranges[of].Ban != b.Ban {
			list = append(list, b.Ban)
		}
	}
	return list
}

// IsKeyName reports whether a name is made from a key: it has no grant.
func (n *Names) IsKeyName(name string) bool {
	_, alone := madeBy(name, n.zone)
	return alone
}
