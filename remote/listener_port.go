package remote

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"keystay/framing"
)

// isPort reports whether the listener is that of a public TCP port.
func (l *Listener) isPort() bool { return l.cfg.Port != 0 }

// publicName is what visitors connect to: the name, or of a TCP port the relay's name
// with the port that it has given, and before that the name that it is asked by.
func (l *Listener) publicName() string {
	if !l.isPort() {
		return l.domain
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.publicNameLocked()
}

func (l *Listener) publicNameLocked() string { return publicPort(l.domain, l.port) }

// publicPort is the public name of a TCP port that is asked for by name, where this one was
// given.
func publicPort(name string, port uint16) string {
	_, relay, _ := framing.ParsePortName(name)
	if port == 0 {
		return name
	}
	return net.JoinHostPort(relay, strconv.Itoa(int(port)))
}

// parsePublicPort takes the name of a public TCP port apart, as visitors write it.
func parsePublicPort(name string) (relay string, port uint16, ok bool) {
	host, digits, err := net.SplitHostPort(name)
	n, perr := strconv.ParseUint(digits, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" {
		return "", 0, false
	}
	return host, uint16(n), true
}

// isPortName reports whether a name is one by which a TCP port is claimed.
func isPortName(name string) bool {
	_, _, ok := framing.ParsePortName(name)
	return ok
}

// choosePort is choose for a TCP port: without a relay, it is the one that gave this
// port last, else the one that gave anything last.
func (s *state) choosePort(cfg Name) (name string, how served, err error) {
	switch {
	case len(cfg.Relays) > 1:
		return "", how, fmt.Errorf("listen: a TCP port is one relay's, and there are %d relays", len(cfg.Relays))
	case len(cfg.Relays) == 1:
		how = served{Relays: cfg.Relays, Named: true}
	default:
		if how, err = s.lastPort(cfg.Port); err != nil {
			return "", how, err
		}
	}
	host, _ := splitRelay(how.Relays[0])
	return framing.PortName(cfg.Port, strings.ToLower(host)), how, nil
}

// lastPort returns how a TCP port was served last that was asked for by this number, or
// else through which relay anything was.
func (s *state) lastPort(asked uint16) (how served, err error) {
	same := false
	err = s.eachServed(func(name string, was served) {
		port, _, ok := framing.ParsePortName(name)
		this := ok && port == asked
		if same && !this || same == this && was.Run < how.Run {
			return
		}
		if same = this; !this {
			was = served{Relays: was.Relays[:1], Run: was.Run}
		}
		how = was
	})
	if err == nil && len(how.Relays) == 0 {
		if relay := s.oldRelay(); relay != "" {
			return served{Relays: []string{relay}}, nil
		}
		return how, ErrNoRelay
	}
	return how, err
}

// chooseReleased is choose for a TCP port that is to be given back, by its public name:
// own is the name by which it was claimed, where that is known.
func (s *state) chooseReleased(cfg Name) (own string, how served, err error) {
	relay, _, _ := parsePublicPort(cfg.Domain)
	how = served{Relays: []string{relay}}
	err = s.eachServed(func(name string, was served) {
		if was.Public == cfg.Domain {
			own, how = name, was
		}
	})
	if len(cfg.Relays) > 0 {
		how = served{Relays: cfg.Relays, Named: true}
	}
	return own, how, err
}
