package remote

import (
	"crypto/tls"
	"errors"

	"keystay/framing"
	"keystay/internal/hint"
)

// maxUnwanted is how many handshakes a listener has at once with visitors whom
// Name.Rules refuse: a CA validates from some places. Relays pass on what looks like
// a validation, and it would take the places of those for whom the name is.
const maxUnwanted = 32

// errUnwanted is the error of a visitor whom Name.Rules refuse.
var errUnwanted = errors.New("the name is not for this visitor")

// accessDenied is the alert access_denied as a record (RFC 8446, sections 5.1 and
// 6.2).
var accessDenied = []byte{21, 3, 3, 0, 2, 2, 49}

// validationsOnly is the configuration for a visitor whom the rules refuse, and
// whom a relay has passed on all the same: a CA's validation, which offers
// acme-tls/1 and nothing else (RFC 8737, section 3), or one who is told so.
func (l *Listener) validationsOnly(stream *framing.Stream) *tls.Config {
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
	if d.unwanted.tellsReason("unwanted", false) {
		d.log.Warn("a visitor was refused here whom the relay should have refused", hint.Attr(hint.RulesUnkept.Do))
	}
}
