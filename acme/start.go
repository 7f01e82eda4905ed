package acme

import (
	"context"
	"errors"

	"github.com/caddyserver/certmagic"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// adopt takes up the certificate for e that is in the folder. One that is expired now
// is not served nor named as replaced, but its files stay until there is
// another, since it may be the clock that is wrong.
func (k *Keeper) adopt(e *entry) {
	cur, err := k.find(k.ctx, e.name)
	if err != nil {
		k.log.Warn("stored certificate cannot be loaded", "name", e.name, "error", err, hint.Attr(hint.All(err)))
	}
	if cur == nil {
		return
	}
	if err := ownfile.Protect(k.store.Filename(certmagic.StorageKeys.SitePrivateKey(cur.issuer.IssuerKey(), e.name))); err != nil {
		k.log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	e.set(cur)
}

// find returns the certificate for name that is in the folder, of several CAs
// the one that is valid longest, or nil. One with the wanted kind of key goes
// before one without. The error says which cannot be used.
func (k *Keeper) find(ctx context.Context, name string) (best *stored, err error) {
	for _, i := range k.issuers {
		s, lerr := k.store.load(ctx, i, name)
		err = errors.Join(err, lerr)
		best = better(best, s)
	}
	return best, err
}

// better returns which of two certificates for a name is to be used; either may be nil.
func better(best, s *stored) *stored {
	if s != nil && (best == nil || best.other && !s.other ||
		best.other == s.other && s.cert.Leaf.NotAfter.After(best.cert.Leaf.NotAfter)) {
		return s
	}
	return best
}
