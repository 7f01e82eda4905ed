package names

import (
	"bytes"
	"fmt"
	"iter"
	"net"
	"strconv"
	"strings"
	"time"

	"keystay/internal/hostname"
)

// MaxPortsPerIdentity is how many public TCP ports one identity may hold.
const MaxPortsPerIdentity = 4

// Ports are the public TCP ports that a relay gives out, both ends included. The zero
// value is none.
type Ports struct{ First, Last uint16 }

// Has reports whether a port is one of them.
func (p Ports) Has(port uint16) bool { return p.First != 0 && p.First <= port && port <= p.Last }

// Count is how many there are.
func (p Ports) Count() int {
	if p.First == 0 || p.Last < p.First {
		return 0
	}
	return int(p.Last-p.First) + 1
}

// String is the range as settings have it, as in "20000-20999"; empty for none.
func (p Ports) String() string {
	if p.Count() == 0 {
		return ""
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// like returns all of the ports in the order in which they are good for whoever asks for
// one: that number itself; those that end in the same digits, first in the most of them,
// down to two, or to the only one; and then all others, from the first of these on. Some
// come twice.
func (p Ports) like(port uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if p.Has(port) && !yield(port) {
			return
		}
		begin := 0 // of the others
		if p.Has(port) {
			begin = int(port)
		}
		least := 100
		if port < 10 {
			least = 10
		}
		for step := 10000; step >= least; step /= 10 {
			if step > 10*int(port) { // it has fewer digits
				continue
			}
			first := int(p.First) + (int(port)-int(p.First)%step+step)%step
			for at := first; at <= int(p.Last); at += step {
				if begin == 0 {
					begin = at
				}
				if !yield(uint16(at)) {
					return
				}
			}
		}
		for i := range p.Count() {
			if !yield(p.First + uint16((max(0, begin-int(p.First))+i)%p.Count())) {
				return
			}
		}
	}
}

// PortName is the name of a public TCP port, as visitors write it: the relay's own name,
// a colon and the number. It is no host name, so no hello asks for it.
func PortName(zone string, port uint16) string {
	return net.JoinHostPort(zone, strconv.Itoa(int(port)))
}

// IsPort reports whether a name is one of PortName's, of any relay.
func IsPort(name string) bool {
	_, _, ok := splitPort(name)
	return ok
}

// splitPort is the reverse of PortName.
func splitPort(name string) (zone string, port uint16, ok bool) {
	zone, digits, ok := strings.Cut(name, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 || digits != strconv.FormatUint(n, 10) {
		return "", 0, false
	}
	if normal, err := hostname.Normalize([]byte(zone)); err != nil || normal != zone {
		return "", 0, false
	}
	return zone, uint16(n), true
}

// PortOf returns the number of a TCP port of this relay by its name.
func (n *Names) PortOf(name string) (port uint16, ok bool) {
	zone, port, ok := splitPort(name)
	return port, ok && zone == n.zone
}

// PortsAtMost is how many TCP ports one identity may hold.
func (n *Names) PortsAtMost() int {
	r := n.InForce()
	return r.portsAtMost()
}

// portsAtMost is how many ports one identity may hold.
func (r *Rules) portsAtMost() int {
	if r.PortsPerIdentity > 0 {
		return r.PortsPerIdentity
	}
	return MaxPortsPerIdentity
}

// ChoosePort returns the name of the port that a claimant is to claim, who asks for the
// one in c.Port: the one that it has, or had lately, for that number; else the number
// itself; else one that ends alike; else the next one that is free. It does not choose
// those for which unfit returns true. Own says that the port is the claimant's already.
// The error is a *Denied where there is none, or a claim of it would be denied, or says
// why the record cannot tell. Claim has the last word.
func (n *Names) ChoosePort(c Claimant, unfit func(name string) bool) (name string, own bool, err error) {
	var denial *Denied
	err = n.view(func(l *ledger) error {
		if name, own, err = n.choosePort(l, &c, unfit); err != nil || name == "" || own {
			return err
		}
		c.Name = name
		v, err := n.decide(l, &c, &answers{})
		denial = v.denial
		return err
	})
	switch {
	case err != nil:
		return "", false, err
	case denial != nil:
		return "", false, denial
	case name != "":
		return name, own, nil
	}
	c.Name = PortName(n.zone, c.Port)
	if n.Ports.Count() == 0 {
		return "", false, c.deny(DeniedInvalid, "this relay gives out no TCP ports")
	}
	d := c.deny(DeniedLimit, "this relay has given out all its TCP ports")
	d.Retry = portsFullRetry
	return "", false, d
}

// portsFullRetry is when a device may ask again for a port where none is free.
const portsFullRetry = 10 * time.Minute

// portsFull is how long no free port is looked for once none was found: to look at all of
// them may take some hundred milliseconds.
const portsFull = time.Second

func (n *Names) choosePort(l *ledger, c *Claimant, unfit func(string) bool) (name string, own bool, err error) {
	if n.Ports.Count() == 0 {
		return "", false, nil
	}
	had := ""
	err = l.eachPort(c.Key, func(at string, gr *grant) {
		port, here := n.PortOf(at)
		switch {
		case !here || !n.Ports.Has(port):
		case gr.Port == c.Port && l.live(gr):
			name, own = at, true
		case gr.Port == c.Port:
			had = at
		}
	})
	if err != nil || name != "" {
		return name, own, err
	}
	if had != "" {
		return had, false, nil
	}
	if time.Now().UnixNano() < n.noPort.Load() {
		return "", false, nil
	}
	for port := range n.Ports.like(c.Port) {
		at := PortName(n.zone, port)
		gr, err := l.raw(at)
		if err != nil {
			return "", false, err
		}
		_, banned := n.bannedName(at)
		mine := gr != nil && bytes.Equal(gr.Key, c.Key) && port == c.Port
		switch {
		case banned || gr != nil && !l.over(gr) && !mine:
		case unfit(at):
		default:
			return at, mine && l.live(gr), nil
		}
	}
	n.noPort.Store(time.Now().Add(portsFull).UnixNano())
	return "", false, nil
}

// eachPort calls f with each port that an identity holds, or that is kept for it.
func (l *ledger) eachPort(key []byte, f func(name string, gr *grant)) error {
	for k := range l.From(tableHolders, key) {
		if !bytes.HasPrefix(k, key) {
			break
		}
		name := string(k[len(key):])
		if !IsPort(name) {
			continue
		}
		gr, err := l.raw(name)
		if err != nil {
			return err
		}
		if gr != nil && !l.over(gr) {
			f(name, gr)
		}
	}
	return nil
}

// decidePort decides about the claim of a port. Whoever the policy lets have a name may
// have one; where it asks for a token, any valid one will do.
func (n *Names) decidePort(l *ledger, c *Claimant, port uint16, known *answers) (verdict, error) {
	if !n.Ports.Has(port) {
		return verdict{denial: c.deny(DeniedInvalid, "this relay does not give out this port")}, nil
	}
	gr, err := l.raw(c.Name)
	switch {
	case err != nil:
		return verdict{}, err
	case gr == nil || l.over(gr):
	case !bytes.Equal(gr.Key, c.Key) && l.live(gr):
		return verdict{denial: Taken(c.Name)}, nil
	case !bytes.Equal(gr.Key, c.Key):
		return verdict{denial: c.deny(DeniedTaken, "another device had it until lately: it is kept until "+l.keptUntil(gr).Format(time.DateOnly))}, nil
	case l.live(gr) && gr.Port == c.Port:
		return verdict{own: true}, nil
	case l.live(gr):
		now := *gr
		now.Port = c.Port
		return verdict{own: true, write: func(l *ledger) error { return l.seen(c.Name, &now) }}, nil
	}
	r := n.InForce()
	valid, tok, err := anyToken(l, r.Tokens, c)
	if err != nil {
		return verdict{}, err
	}
	tok.admits = tok.admits || valid
	if denial := n.admit(&r, c, &tok); denial != nil {
		return verdict{denial: denial}, nil
	}
	if denial, err := portRoom(l, &r, c); err != nil || denial != nil {
		return verdict{denial: denial}, err
	}
	if v, wait := n.outside(c, known); wait {
		return v, nil
	}
	return verdict{token: tok.id, vouched: tok.admits, write: func(l *ledger) error {
		if err := tok.use(l, c); err != nil {
			return err
		}
		return l.put(c.Name, &grant{Key: c.Key, Since: l.Now(), Seen: l.Now(), Token: tok.id, Port: c.Port})
	}}, nil
}

// portRoom says whether there is room for one more port: nil, or why not.
func portRoom(l *ledger, r *Rules, c *Claimant) (*Denied, error) {
	held := 0
	err := l.eachPort(c.Key, func(name string, _ *grant) {
		if name != c.Name { // its own, that has lapsed
			held++
		}
	})
	if err != nil {
		return nil, err
	}
	if most := r.portsAtMost(); held >= most {
		return c.deny(DeniedLimit, fmt.Sprintf("a device may hold %d TCP ports here", most),
			"give one back that is not used: remote release "+c.Name+", with the port's own number; it counts until it is kept from others no more"), nil
	}
	full, err := l.full()
	if err == nil && full {
		return c.deny(DeniedLimit, "this relay has given out all its names"), nil
	}
	return nil, err
}
