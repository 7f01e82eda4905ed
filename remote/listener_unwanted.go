package remote

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"keystay/internal/hint"
)

// maxUnwanted is how many handshakes a listener has at once, by one relay, with visitors whom
// Name.Rules refuse: a CA validates from some places. Relays pass on what looks like
// a validation, and it would take the places of those for whom the name is.
const maxUnwanted = 32

// unwanted are the handshakes of a listener with such visitors. Where there are
// maxUnwanted, a further one takes the place of the oldest from the network that has
// most, unless its own network would then have more than that one had. So no single
// network keeps a CA away, nor do many that stay.
type unwanted struct {
	most int // in place of maxUnwanted; 0 is that

	mu  sync.Mutex
	all []arrival // the oldest first
}

// enter gives a visitor a place. It reports false where there is none.
func (u *unwanted) enter(stream arrival) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.all) >= cmp.Or(u.most, maxUnwanted) {
		has := make(map[netip.Prefix]int)
		var most netip.Prefix
		for _, s := range u.all {
			from := networkOf(s.Header().Source.Addr())
			if has[from]++; has[from] > has[most] {
				most = from
			}
		}
		if has[networkOf(stream.Header().Source.Addr())]+1 > has[most] {
			return false
		}
		i := slices.IndexFunc(u.all, func(s arrival) bool { return networkOf(s.Header().Source.Addr()) == most })
		u.all[i].Reset()
		u.all = slices.Delete(u.all, i, i+1)
	}
	u.all = append(u.all, stream)
	return true
}

// leave gives the place of a visitor back.
func (u *unwanted) leave(stream arrival) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.all, stream); i >= 0 {
		u.all = slices.Delete(u.all, i, i+1)
	}
}

// errUnwanted is the error of a visitor whom Name.Rules refuse.
var errUnwanted = errors.New("the name is not for this visitor")

// accessDenied is the alert access_denied as a record (RFC 8446, sections 5.1 and
// 6.2).
var accessDenied = []byte{21, 3, 3, 0, 2, 2, 49}

// validationsOnly is the configuration for a visitor whom the rules refuse, and
// whom a relay has passed on all the same: a CA's validation, which offers
// acme-tls/1 and nothing else (RFC 8737, section 3), or one who is told so.
func (l *Listener) validationsOnly(stream arrival) *tls.Config {
	return &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if l.keeper != nil && isValidation(h) {
			return l.base.GetConfigForClient(h) // which has a configuration for it
		}
		l.d.tellUnwanted()
		_, _ = stream.Write(accessDenied) // before the alert of crypto/tls, which means a mistake here
		return nil, errUnwanted
	}}
}

// tellUnwanted says that a relay has passed on what it should have refused: once,
// and then ever more rarely, as of an outage.
func (d *Device) tellUnwanted() {
	if d.unwanted.tells("unwanted", false) {
		d.log.Warn("a visitor was refused here whom the relay should have refused", hint.Attr(hint.RulesUnkept.Do))
	}
}
