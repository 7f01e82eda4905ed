package names

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"keystay/internal/keyname"
)

// maxBelow is how many names below one are looked at. Those that are left over from
// expired grants are swept; the others are of the holder itself, which has a few at
// most.
const maxBelow = 2 * MaxNamesPerIdentity

// errTooMany says that more grants have expired than one claim sweeps.
var errTooMany = errors.New("too many names below it have expired and are not swept yet")

// A grant is the stored form of who may use a name.
type grant struct {
	Key   []byte    `json:"key"`
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
	// Until is set when the name has lapsed or was released: until then no other
	// identity can have it.
	Until time.Time `json:"until,omitzero"`
	// Token is the id of the token that opened the name; empty where none did.
	Token string `json:"token,omitempty"`
	// Proof is what DNS said of a custom domain; nil for a name below the zone.
	Proof *Proof `json:"proof,omitempty"`
	// Port is the number that the identity of a TCP port has asked for; 0 of a name.
	Port uint16 `json:"port,omitempty"`
}

func parseGrant(b []byte) (*grant, error) {
	var gr grant
	if err := json.Unmarshal(b, &gr); err != nil || len(gr.Key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: a grant cannot be read", ErrDamaged)
	}
	return &gr, nil
}

// nameBytes are those of a host name that is normal. What else makes a name may
// have been decided in another way when it was given out.
const nameBytes = "abcdefghijklmnopqrstuvwxyz0123456789-."

// parseStored is parseGrant for a record that is rebuilt.
func parseStored(name string, b []byte) (*grant, error) {
	host, _, _ := strings.Cut(name, ":")
	if host == "" || strings.Trim(host, nameBytes) != "" || host != name && !IsPort(name) {
		return nil, fmt.Errorf("%w: it has a name that is none", ErrDamaged)
	}
	return parseGrant(b)
}

// madeFrom reports whether the first label of name is made from key.
func madeFrom(name string, key []byte) bool {
	label, _, _ := strings.Cut(name, ".")
	return label == keyname.Label(key, "")
}

// timeKey sorts names by a time.
func timeKey(at time.Time, name string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(max(at.Unix(), 0))), name...)
}

// parseTimeKey is the reverse of timeKey.
func parseTimeKey(k []byte) (at time.Time, name string, err error) {
	if len(k) < 8 {
		return at, "", fmt.Errorf("%w: a time without a name", ErrDamaged)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(k)), 0).UTC(), string(k[8:]), nil
}

// reversed returns a name with its labels in reverse, so that the names below one
// stand together; and a reversed one as it was.
func reversed(name string) []byte {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return []byte(strings.Join(labels, "."))
}

// A ledger is whose the names are, within one transaction.
type ledger struct {
	Tx
	expire time.Duration // how long an unused name is kept; 0 is GrantTime
}

// ends is when something ends by the record's time that is to end at a time of the
// machine's clock, which may be another: see clock. The zero time is never.
func (l *ledger) ends(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(l.Now().Sub(wholeSeconds(time.Now())).Round(time.Minute))
}

// raw returns the grant of name, whatever has become of it, or nil.
func (l *ledger) raw(name string) (*grant, error) {
	b := l.Get(tableGrants, []byte(name))
	if b == nil {
		// Both tables would have to be damaged for a name to look free.
		if l.Get(tableBelow, reversed(name)) != nil {
			return nil, fmt.Errorf("%w: the grant of a name is missing", ErrDamaged)
		}
		return nil, nil
	}
	return parseGrant(b)
}

// get returns the grant of name, or nil: one that has lapsed is none.
func (l *ledger) get(name string) (*grant, error) {
	gr, err := l.raw(name)
	if gr != nil && !l.live(gr) {
		gr = nil
	}
	return gr, err
}

// live reports whether the grant has not lapsed.
func (l *ledger) live(gr *grant) bool { return gr.Until.IsZero() && !l.expired(gr.Seen) }

func (l *ledger) expired(seen time.Time) bool { return l.Now().Sub(seen) > l.expiry() }

func (l *ledger) expiry() time.Duration {
	if l.expire > 0 {
		return l.expire
	}
	return GrantTime
}

// keptUntil is how long a grant that is not live keeps its name from others.
func (l *ledger) keptUntil(gr *grant) time.Time {
	if !gr.Until.IsZero() {
		return gr.Until
	}
	return gr.Seen.Add(l.expiry() + GraceTime)
}

// over reports whether nothing is left of a grant.
func (l *ledger) over(gr *grant) bool { return !l.live(gr) && !l.Now().Before(l.keptUntil(gr)) }

// below reports whether anybody else than key holds a name below name.
func (l *ledger) below(name string, key []byte) (other bool, err error) {
	start := append(reversed(name), '.')
	n := 0
	for k := range l.From(tableBelow, start) {
		if !bytes.HasPrefix(k, start) {
			break
		}
		if n++; n > maxBelow {
			return false, errTooMany
		}
		gr, err := l.get(string(reversed(string(k))))
		if err != nil {
			return false, err
		}
		if gr != nil && !bytes.Equal(gr.Key, key) {
			return true, nil
		}
	}
	return false, nil
}

// put writes the grant of name, in the place of the one that there is.
func (l *ledger) put(name string, gr *grant) error {
	old, err := l.raw(name)
	if err != nil {
		return err
	}
	if old != nil {
		if err := l.drop(name, old); err != nil {
			return err
		}
	}
	b, err := json.Marshal(gr)
	if err != nil {
		return err
	}
	if err := l.Set(tableGrants, []byte(name), b); err != nil {
		return err
	}
	return l.index(name, gr, []byte{})
}

// seen writes that the identity has used its name until now.
func (l *ledger) seen(name string, gr *grant) error {
	now := *gr
	now.Seen = l.Now()
	return l.put(name, &now)
}

// lapse writes that nobody has the name any more, and until when it is kept from
// other identities than its last one.
func (l *ledger) lapse(name string, gr *grant, until time.Time) error {
	now := *gr
	now.Until = until
	return l.put(name, &now)
}

// drop takes a grant out.
func (l *ledger) drop(name string, gr *grant) error {
	if err := l.Set(tableGrants, []byte(name), nil); err != nil {
		return err
	}
	return l.index(name, gr, nil)
}

// index keeps the tables that follow from the grants: v is empty for a grant that is
// put, and nil for one that is dropped.
func (l *ledger) index(name string, gr *grant, v []byte) error {
	for _, e := range gr.entries(name) {
		if err := l.Set(e.Table, e.Key, v); err != nil {
			return err
		}
	}
	return nil
}

// heldOrKept counts the names of an identity, and those that it has released or lost
// and that are kept from others still. Without the latter an identity could take name
// after name, give each back, and so keep all of them from everybody else.
func (l *ledger) heldOrKept(key []byte) (n int, err error) {
	for k := range l.From(tableHolders, key) {
		if !bytes.HasPrefix(k, key) {
			break
		}
		gr, err := l.raw(string(k[len(key):]))
		if err != nil {
			return 0, err
		}
		if gr != nil && !l.over(gr) {
			n++
		}
	}
	return n, nil
}

// full reports whether MaxGrants names are given out. A grant of which nothing is left
// does not count: the claim sweeps it.
func (l *ledger) full() (bool, error) {
	if l.Count(tableGrants) < MaxGrants {
		return false, nil
	}
	name, gr, err := l.sweepNext()
	return gr == nil || name == "" || !l.over(gr), err
}
