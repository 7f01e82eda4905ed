package watch

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A State is what came of a probe.
type State string

const (
	// Own: the key was the device's, and the connection ended at the device.
	Own State = "own"
	// Intercepted: the key was another one's, or the connection ended elsewhere.
	Intercepted State = "intercepted"
	// NotRun: the probe did not come to its end, and says nothing.
	NotRun State = "not_run"
)

// A Step is where a probe that was not run has failed.
type Step string

const (
	AtLookup    Step = "lookup"    // DNS gives no address
	AtDial      Step = "dial"      // no connection to the address
	AtProxy     Step = "proxy"     // the proxy gives no connection
	AtHandshake Step = "handshake" // TLS was not agreed on, and no foreign key shown
	AtPeer      Step = "peer"      // the remote that was asked to look does not answer, or has not seen the name
	AtEnds      Step = "ends"      // it is not known whether the connection ended at the device

	// AtCertificate: a certificate was shown that may be one for the name, and the device
	// cannot tell.
	AtCertificate Step = "certificate"

	// AtOther: it was beside the name's own port, and nobody there deceives its visitors. No
	// round tells it.
	AtOther Step = "other"
)

// A Result is what came of one probe.
type Result struct {
	Name    string         // the public name
	Address netip.AddrPort // that was dialled; invalid where there was none, or the proxy chose it
	Way     string         // of [Way]
	State   State
	Step    Step   // with NotRun
	Why     string // for people, with NotRun and Intercepted
	Hints   []string

	Key  [sha256.Size]byte // with Own and Intercepted
	Time time.Time         // when it ended

	chain [][]byte // in DER, the leaf first; with Intercepted, until its alarm is raised
}

// isTold reports whether a result is one to tell of a port beside the name's own: not that
// there is no connection, since mostly nothing is there.
func (r *Result) isTold() bool {
	return r.State == Intercepted || r.Step == AtHandshake || r.Step == AtCertificate
}

// where says which address was dialled, and how, for people.
func (r *Result) where() string {
	at := "the name"
	if r.Address.IsValid() {
		at = r.Address.String()
	}
	if r.Way == "" {
		return at
	}
	return at + " through " + r.Way
}

// A Round is what came of all probes of a name at one time, one at least.
type Round struct {
	Name    string
	Time    time.Time
	Results []Result
}

// State is Intercepted where one probe is that, else NotRun where one is that.
func (r *Round) State() State {
	for _, s := range []State{Intercepted, NotRun} {
		if slices.ContainsFunc(r.Results, func(one Result) bool { return one.State == s }) {
			return s
		}
	}
	return Own
}

// of returns the results with a state.
func (r *Round) of(s State) (all []*Result) {
	for i := range r.Results {
		if r.Results[i].State == s {
			all = append(all, &r.Results[i])
		}
	}
	return all
}

// maxSaid is how many results are said one by one.
const maxSaid = 3

// Text says for people what came of it, without a full stop.
func (r *Round) Text() string {
	foreign, lame, own := r.of(Intercepted), r.of(NotRun), r.of(Own)
	switch {
	case len(foreign) > 0:
		return "intercepted: " + said(foreign)
	case len(own) == 0:
		return "not checked: " + said(lame)
	case len(lame) > 0:
		return fmt.Sprintf("nobody between: this device's own key at %s; not checked: %s", ways(own), said(lame))
	}
	return "nobody between: this device's own key at " + ways(own)
}

// said lists results with their reasons.
func said(all []*Result) string {
	var parts []string
	for _, r := range all[:min(len(all), maxSaid)] {
		parts = append(parts, r.where()+" "+r.Why)
	}
	if more := len(all) - maxSaid; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// ways lists where probes led.
func ways(all []*Result) string {
	var parts []string
	for _, r := range all[:min(len(all), maxSaid)] {
		parts = append(parts, r.where())
	}
	if more := len(all) - maxSaid; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// hints are those of all results, each once.
func (r *Round) hints() (all []string) {
	for _, one := range r.Results {
		for _, h := range one.Hints {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all
}
