package names

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/keyname"
)

// MaxBans is how many bans the record keeps.
const MaxBans = 1 << 16

// A BanKind says what is banned.
type BanKind string

// The kinds of bans.
const (
	BanName     BanKind = "name"     // a name, and all below it; or a TCP port, see PortName
	BanIdentity BanKind = "identity" // a device's key, by the label made from it
	BanAddress  BanKind = "address"  // an address range: links and visitors from there
)

// A Ban is the operator's no.
type Ban struct {
	Kind   BanKind   `json:"kind"`
	Of     string    `json:"of"`
	Reason string    `json:"reason,omitempty"` // for the banned one, too
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero is for good
	By     string    `json:"by,omitempty"`
}

// Check brings what is banned into its one form, or says why it is none.
func (b *Ban) Check() error {
	switch b.Kind {
	case BanName:
		if of := strings.ToLower(b.Of); IsPort(of) {
			b.Of = of
			break
		}
		name, err := hostname.Normalize([]byte(b.Of))
		if err != nil {
			return fmt.Errorf("%q is no host name", b.Of)
		}
		b.Of = name
	case BanIdentity:
		label, _, _ := strings.Cut(strings.ToLower(b.Of), ".")
		if !keyname.Is(label) {
			return fmt.Errorf("%q is no identity: the 32 characters that the list of remotes shows", b.Of)
		}
		b.Of = label
	case BanAddress:
		p, err := parseRange(b.Of)
		if err != nil {
			return err
		}
		b.Of = p.String()
	default:
		return fmt.Errorf("%q is no kind of ban", b.Kind)
	}
	return nil
}

// parseRange reads an address range, as in 192.0.2.0/24, or one address.
func parseRange(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return p, fmt.Errorf("%q is no address range, as in 192.0.2.0/24 or 2001:db8::/48", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("%q is a range of IPv4 addresses and more: write the range of IPv4 alone, as in 192.0.2.0/24", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// banKey is the key of a ban in its table.
func banKey(kind BanKind, of string) []byte { return []byte(string(kind) + " " + of) }

// Ban bans, from when it returns: no name is given out against it, and no claim
// that is under way is granted. Who is connected is not its matter. Until is by the
// machine's clock, and in what is returned by the record's time. A ban of the
// same takes the place of the one that there is.
func (n *Names) Ban(b Ban) (Ban, error) {
	if err := b.Check(); err != nil {
		return b, err
	}
	until := b.Until
	err := n.update(func(l *ledger) error {
		if l.Count(tableBans) >= MaxBans && l.Get(tableBans, banKey(b.Kind, b.Of)) == nil {
			return fmt.Errorf("there are %d bans already: lift some", MaxBans)
		}
		b.Since, b.Until = l.Now(), l.ends(until)
		v, err := json.Marshal(b)
		if err != nil {
			return err
		}
		return l.Set(tableBans, banKey(b.Kind, b.Of), v)
	})
	return b, err
}

// Unban lifts a ban. The error wraps ErrNone when there is no such one.
func (n *Names) Unban(kind BanKind, of string) error {
	b := Ban{Kind: kind, Of: of}
	if err := b.Check(); err != nil {
		return err
	}
	return n.update(func(l *ledger) error {
		if l.Get(tableBans, banKey(kind, b.Of)) == nil {
			return fmt.Errorf("a ban of %s: %w", b.Of, ErrNone)
		}
		return l.Set(tableBans, banKey(kind, b.Of), nil)
	})
}

// Bans returns the bans of a kind that are in force, in the order of what is
// banned.
func (n *Names) Bans(kind BanKind) (list []Ban, err error) {
	err = n.eachBan(func(b Ban, _ time.Time) {
		if b.Kind == kind {
			list = append(list, b)
		}
	})
	slices.SortFunc(list, func(a, b Ban) int { return cmp.Compare(a.Of, b.Of) })
	return list, err
}

// eachBan calls f with each ban that is in force, and the record's time. They are
// decoded once others may read the record again: there may be MaxBans.
func (n *Names) eachBan(f func(b Ban, now time.Time)) error {
	var all [][]byte
	var now time.Time
	err := n.view(func(l *ledger) error {
		now = l.Now()
		for _, v := range l.From(tableBans, nil) {
			all = append(all, slices.Clone(v))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, v := range all {
		var b Ban
		if err := json.Unmarshal(v, &b); err != nil {
			return fmt.Errorf("%w: a ban cannot be read", ErrDamaged)
		}
		if b.Until.IsZero() || now.Before(b.Until) {
			f(b, now)
		}
	}
	return nil
}

// sweepBans takes out those that are over.
func (l *ledger) sweepBans() error {
	var over [][]byte
	for k, v := range l.From(tableBans, nil) {
		var b Ban
		if json.Unmarshal(v, &b) == nil && !b.Until.IsZero() && !l.Now().Before(b.Until) {
			over = append(over, slices.Clone(k))
		}
	}
	for _, k := range over {
		if err := l.Set(tableBans, k, nil); err != nil {
			return err
		}
	}
	return nil
}

// Text is what the banned one is told.
func (b *Ban) Text() string {
	what := map[BanKind]string{BanName: "this name", BanIdentity: "this device", BanAddress: "your network"}[b.Kind]
	text := "the relay's operator has banned " + what
	if b.Reason != "" {
		text += ": " + b.Reason
	}
	if !b.Until.IsZero() {
		text += ", until " + b.Until.Format("2006-01-02 15:04 MST")
	}
	return text
}

// banned is the denial of a claim that a ban hits.
func (c *Claimant) banned(b Ban) *Denied { return c.deny(DeniedBanned, b.Text()) }
