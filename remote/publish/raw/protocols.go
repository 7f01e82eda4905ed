package raw

import "slices"

// Protocols says which application protocol (ALPN, RFC 7301) is agreed on with a
// visitor, and which of a name's services it leads to.
type Protocols struct {
	// Web says that the service for all that no rule names speaks HTTP: h2 and
	// http/1.1. Else it takes whatever the visitor offers first.
	Web bool

	// Rules are the protocols of further services, one rule for each, the most
	// wanted protocol first. The first rule counts that has one which the visitor
	// offers.
	Rules [][]string
}

// Choose returns the protocol for a visitor who has offered these, "" for one who
// has offered none. It is false where none of them is served here: the visitor
// is to get the alert no_application_protocol (RFC 7301, section 3.2).
func (p Protocols) Choose(offered []string) (protocol string, ok bool) {
	if len(offered) == 0 {
		return "", true
	}
	for _, rule := range p.Rules {
		if protocol, ok := first(rule, offered); ok {
			return protocol, true
		}
	}
	if p.Web {
		return first([]string{"h2", "http/1.1"}, offered)
	}
	for _, o := range offered {
		if !isGREASE(o) {
			return o, true
		}
	}
	return "", true // it has offered nothing that it means
}

// Service returns where an agreed protocol leads: 0 is the service for all that
// no rule names, i+1 that of Rules[i]. It is what Split asks.
func (p Protocols) Service(protocol string) int {
	for i, rule := range p.Rules {
		if slices.Contains(rule, protocol) {
			return i + 1
		}
	}
	return 0
}

// first returns the first of the wanted protocols that is offered.
func first(wanted, offered []string) (string, bool) {
	for _, w := range wanted {
		if slices.Contains(offered, w) {
			return w, true
		}
	}
	return "", false
}

// isGREASE reports whether a protocol is one that clients offer so that servers
// learn to ignore what they do not know (RFC 8701, section 2).
func isGREASE(protocol string) bool {
	return len(protocol) == 2 && protocol[0] == protocol[1] && protocol[0]&0x0f == 0x0a
}
