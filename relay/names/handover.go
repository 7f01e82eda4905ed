package names

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"keystay/internal/keyname"
)

// MaxRetired is how many identities that have handed over the record remembers. Those that
// come without any name are remembered in the first half alone.
const MaxRetired = 1 << 16

// retiredAgain is after how long a device may show a hand-over again that there was no room
// for.
const retiredAgain = time.Hour

// A retirement is the stored form of an identity that has handed over.
type retirement struct {
	Heir []byte    `json:"heir"`
	At   time.Time `json:"at"`
}

// retired returns what the record has of an identity that has handed over, or nil.
func (l *ledger) retired(key []byte) (*retirement, error) {
	v := l.Get(tableRetired, key)
	if v == nil {
		return nil, nil
	}
	var r retirement
	if err := json.Unmarshal(v, &r); err != nil || len(r.Heir) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: a hand-over cannot be read", ErrDamaged)
	}
	return &r, nil
}

// HandedOver is the denial of a name to an identity that has handed over.
func HandedOver(name string) *Denied {
	return &Denied{Name: name, Code: DeniedTaken, Text: "this device's key has handed over to another one, and gets no names any more",
		Hints: []string{"use the new key: it is in the state directory that it was made in, see remote identity show; if you have not changed the key, somebody else has it: ask the relay's operator"}}
}

// A heritage is an identity that has not handed over before, and its names that another one
// can have.
type heritage struct {
	key   ed25519.PublicKey
	names []string
}

// A handedOver is what one hand-over has changed.
type handedOver struct {
	retired [][]byte // identities, for the first time
	names   []string // that the claimant has got
	from    []string // the labels of those that had them
}

// HandOver gives a claimant what earlier identities hold: names, those that are kept
// for them, and tokens that are bound to them. They are given the oldest first; each
// has handed over to the next one and the last to the claimant, which the caller has
// checked. They get no names from then on: retired are those for whom that is new. What
// was handed over before is no error, and changes nothing.
//
// Names made from an old key, and those below them, stay behind. The error is a
// *Denied where the claimant or one that is new is banned, the claimant would hold too many names,
// or there is no room to remember that they have handed over; then nothing has changed.
func (n *Names) HandOver(c Claimant, from []ed25519.PublicKey) (retired []ed25519.PublicKey, err error) {
	due, err := n.dueNow(&c, from)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	if n.Quota != nil {
		c.Retires = len(due)
		if again, ok := n.Quota(c); !ok {
			// Another link may have shown it meanwhile, which counted.
			if due, err = n.dueNow(&c, from); err != nil || len(due) == 0 {
				return nil, err
			}
			d := c.deny(DeniedLimit, "too many new names and hand-overs come from this network", "wait, or ask the relay's operator")
			d.Retry = again
			return nil, d
		}
	}
	var done handedOver
	err = n.update(func(l *ledger) error {
		done = handedOver{}
		due, err := n.handOverDue(l, &c, from)
		if err != nil {
			return err
		}
		return l.handOver(&c, due, &done)
	})
	if err != nil {
		return nil, err
	}
	for i, name := range done.names {
		n.changed(Change{What: "moved", Name: name, Key: c.Key, Reason: "by " + done.from[i]})
	}
	for _, key := range done.retired {
		retired = append(retired, key)
		n.changed(Change{What: "retired", Key: key, Reason: "it has handed over to " + keyname.Label(c.Key, "")})
	}
	return retired, nil
}

// dueNow is handOverDue by the record as it is now.
func (n *Names) dueNow(c *Claimant, from []ed25519.PublicKey) (due []heritage, err error) {
	err = n.view(func(l *ledger) (err error) {
		due, err = n.handOverDue(l, c, from)
		return err
	})
	return due, err
}

// handOverDue returns what there is to hand over, and to remember. What denies it is found
// here, before it is counted.
func (n *Names) handOverDue(l *ledger, c *Claimant, from []ed25519.PublicKey) (due []heritage, err error) {
	if b, ok := n.Banned("", c.Key, c.Source); ok {
		return nil, c.banned(b)
	}
	if r, err := l.retired(c.Key); err != nil || r != nil {
		if r != nil {
			err = HandedOver(c.Name)
		}
		return nil, err
	}
	room := MaxRetired / 2
	for _, key := range from {
		r, err := l.retired(key)
		if err != nil {
			return nil, err
		}
		if r != nil || slices.ContainsFunc(due, func(h heritage) bool { return h.key.Equal(key) }) {
			continue
		}
		if b, ok := n.bannedIdentity(key); ok {
			return nil, c.banned(b)
		}
		moved, err := l.movable(key, n.zone)
		if err != nil {
			return nil, err
		}
		if len(moved) > 0 {
			room = MaxRetired
		}
		due = append(due, heritage{key, moved})
	}
	if len(due) == 0 {
		return nil, nil
	}
	if l.Count(tableRetired)+len(due) > room {
		d := c.deny(DeniedLimit, "this relay has taken as many hand-overs as it remembers",
			fmt.Sprintf("there is room again as the relay forgets older ones, each of them %d days after it was taken; until then the old key is still good here", days(l.retiredFor())))
		d.Retry = retiredAgain
		return nil, d
	}
	return due, l.fits(c, due, n.NamesAtMost())
}

// fits returns a *Denied where c would hold too many names with those of due.
func (l *ledger) fits(c *Claimant, due []heritage, most int) error {
	have, err := l.heldOrKept(c.Key)
	if err != nil {
		return err
	}
	for _, h := range due {
		// An heir that has nothing gets as much as the other one was allowed to hold.
		if have > 0 && have+len(h.names) > most {
			return c.deny(DeniedLimit, fmt.Sprintf("a device may hold %d names here, and both keys have more", most),
				"give some back: remote release NAME")
		}
		have += len(h.names)
	}
	return nil
}

// handOver gives c what each of due holds.
func (l *ledger) handOver(c *Claimant, due []heritage, done *handedOver) error {
	for _, h := range due {
		if err := l.moveAll(h.names, h.key, c.Key, done); err != nil {
			return err
		}
		if err := l.retire(h.key, c.Key, done); err != nil {
			return err
		}
	}
	return nil
}

// movable returns the names of an identity that another one can have.
func (l *ledger) movable(key []byte, zone string) (list []string, err error) {
	for k := range l.From(tableHolders, key) {
		if !bytes.HasPrefix(k, key) {
			break
		}
		name := string(k[len(key):])
		if label, _ := madeBy(name, zone); label != "" {
			continue
		}
		gr, err := l.raw(name)
		if err != nil {
			return nil, err
		}
		if gr != nil && !l.over(gr) {
			list = append(list, name)
		}
	}
	return list, nil
}

// moveAll gives the names of one identity to another one. All else of a grant stays.
func (l *ledger) moveAll(names []string, from, to []byte, done *handedOver) error {
	for _, name := range names {
		gr, err := l.raw(name)
		if err != nil {
			return err
		}
		now := *gr
		now.Key = to
		if err := l.put(name, &now); err != nil {
			return err
		}
		done.names, done.from = append(done.names, name), append(done.from, keyname.Label(from, ""))
	}
	return l.moveTokens(keyname.Label(from, ""), keyname.Label(to, ""))
}

// moveTokens makes the tokens that know one identity know another one instead.
func (l *ledger) moveTokens(from, to string) error {
	changed := map[string]*TokenInfo{}
	for k, v := range l.From(tableTokens, nil) {
		if !bytes.Contains(v, []byte(from)) {
			continue
		}
		t, err := parseToken(k, v)
		if err != nil {
			return err
		}
		if t.BoundTo == from {
			t.BoundTo = to
		}
		for i, label := range t.Devices {
			if label == from {
				t.Devices[i] = to
			}
		}
		changed[string(k)] = t
	}
	for k, t := range changed {
		if err := putToken(l, []byte(k), t); err != nil {
			return err
		}
	}
	return nil
}

// retire remembers that an identity has handed over.
func (l *ledger) retire(key, heir []byte, done *handedOver) error {
	b, err := json.Marshal(retirement{Heir: heir, At: l.Now()})
	if err != nil {
		return err
	}
	done.retired = append(done.retired, key)
	return l.Set(tableRetired, key, b)
}

// retiredFor is how long a hand-over is remembered: the longest that a name is kept for an
// identity that is not seen. By then the old one has nothing that it could claim.
func (l *ledger) retiredFor() time.Duration { return l.expiry() + GraceTime }

// days is d in whole days, none too few.
func days(d time.Duration) int { return int((d + 24*time.Hour - 1) / (24 * time.Hour)) }

// sweepRetired forgets up to limit hand-overs that are older than that.
func (l *ledger) sweepRetired(limit int) error {
	var over [][]byte
	for k, v := range l.From(tableRetired, nil) {
		var r retirement
		if json.Unmarshal(v, &r) == nil && l.Now().Sub(r.At) > l.retiredFor() && len(over) < limit {
			over = append(over, bytes.Clone(k))
		}
	}
	for _, k := range over {
		if err := l.Set(tableRetired, k, nil); err != nil {
			return err
		}
	}
	return nil
}

// Retired is the denial of whatever a claimant asks for whose identity has handed over,
// and nil for any other.
func (n *Names) Retired(c *Claimant) *Denied {
	if !n.keyRetired(c.Key) {
		return nil
	}
	return HandedOver(c.Name)
}

// keyRetired reports whether an identity has handed over. While the record cannot be
// read it has not: the name made from a key needs no record.
func (n *Names) keyRetired(key []byte) (retired bool) {
	_ = n.view(func(l *ledger) error {
		r, err := l.retired(key)
		retired = r != nil
		return err
	})
	return retired
}

// maxHeirs is how many hand-overs one after the other are looked at.
const maxHeirs = 64

// Heirs returns to whom an identity has handed over, to whom that one has, and so on. While
// the record cannot be read it is nobody.
func (n *Names) Heirs(key []byte) (list []ed25519.PublicKey) {
	_ = n.view(func(l *ledger) error {
		for range maxHeirs {
			r, err := l.retired(key)
			if err != nil || r == nil {
				return err
			}
			list = append(list, r.Heir)
			key = r.Heir
		}
		return nil
	})
	return list
}

// Earlier returns a function that returns the labels of the identities that have handed over
// to the one of a label, also over others. It reads all hand-overs, and the function none.
func Earlier(n *Names) func(label string) []string {
	from := make(map[string][]string) // by their heir
	_ = n.view(func(l *ledger) error {
		clear(from)
		for k, v := range l.From(tableRetired, nil) {
			var r retirement
			if json.Unmarshal(v, &r) == nil {
				heir := keyname.Label(r.Heir, "")
				from[heir] = append(from[heir], keyname.Label(k, ""))
			}
		}
		return nil
	})
	return func(label string) (list []string) {
		seen := map[string]bool{label: true}
		for due := []string{label}; len(due) > 0; due = due[1:] {
			for _, key := range from[due[0]] {
				if !seen[key] {
					seen[key] = true
					list, due = append(list, key), append(due, key)
				}
			}
		}
		return list
	}
}
