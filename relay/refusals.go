package relay

import (
	"errors"
	"os"
	"sync/atomic"

	"keystay/sni"
)

// A whyRefused says why a connection of the public port led nowhere.
type whyRefused int

const (
	refusedNotTLS    whyRefused = iota // its first bytes are no TLS
	refusedHTTP                        // they are plain HTTP, and it was told so
	refusedMangled                     // they are no well-formed hello, or a longer one than may be
	refusedLate                        // the hello was not whole in time
	refusedCut                         // it ended before the hello was whole
	refusedNoName                      // the hello asks for no name, or for an address
	refusedBadName                     // what it asks for is no host name
	refusedUnknown                     // the name is nobody's
	refusedBanned                      // the operator has banned its address
	refusedByRule                      // the name's device does not want it
	refusedAway                        // the name's remote did not come in time, or too many wait
	refusedLimited                     // the name, or its identity, has as many visitors as it may
	refusedNotTaken                    // the remote did not take it
	refusedHurried                     // links of its address come too fast
	refusedScarce                      // descriptors are nearly used up
	refusedFixed                       // the operator's own server does not answer
	refusedNoHeader                    // it comes from a proxy, without a PROXY header
	refusedBySibling                   // a sibling refuses the visitor, or passes on one that is not taken
	refusedReasons
)

// refusedWords are the reasons as metrics have them.
var refusedWords = [refusedReasons]string{
	refusedNotTLS: "not_tls", refusedHTTP: "plain_http", refusedMangled: "bad_hello", refusedLate: "hello_timeout", refusedCut: "hello_cut",
	refusedNoName: "no_name", refusedBadName: "bad_name", refusedUnknown: "no_such_name", refusedBanned: "banned", refusedByRule: "rule",
	refusedAway: "away", refusedLimited: "limit", refusedNotTaken: "not_taken", refusedHurried: "link_rate", refusedScarce: "no_descriptors",
	refusedFixed: "own_server", refusedNoHeader: "no_proxy_header", refusedBySibling: "sibling",
}

// refusals refuse connections, and count them by reason.
type refusals [refusedReasons]atomic.Int64

// sum is how many there were.
func (r *refusals) sum() (n int64) {
	for i := range r {
		n += r[i].Load()
	}
	return n
}

// whyNoHello says why no whole hello was read.
func whyNoHello(err error) whyRefused {
	switch {
	case errors.Is(err, sni.ErrNotTLS):
		return refusedNotTLS
	case errors.Is(err, sni.ErrMalformed), errors.Is(err, sni.ErrTooLarge):
		return refusedMangled
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refusedLate
	}
	return refusedCut
}

// refuseHello ends a connection on which no whole hello has come, of which first
// has: as a TLS server would.
func (r *refusals) refuseHello(c sni.Conn, first []byte, err error) {
	if alert, ok := sni.AlertFor(err); ok {
		r.refuse(c, alert, whyNoHello(err))
		return
	}
	if errors.Is(err, sni.ErrNotTLS) && sni.LooksLikeHTTP(c, first) {
		r[refusedHTTP].Add(1)
		sni.RefuseHTTP(c)
		return
	}
	if p, ok := c.(*proxied); ok && p.mark != nil { // a sibling is not left without an answer
		r.answerNo(c, sni.AlertInternalError, whyNoHello(err))
		return
	}
	r[whyNoHello(err)].Add(1)
	c.Close()
}

// refuse refuses a connection that has sent a hello, or one that a sibling passes on.
func (r *refusals) refuse(c sni.Conn, alert sni.Alert, why whyRefused) {
	if p, ok := c.(*proxied); ok && p.mark != nil {
		r.answerNo(c, alert, why)
		return
	}
	r[why].Add(1)
	sni.Refuse(c, alert)
}
