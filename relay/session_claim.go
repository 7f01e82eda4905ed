package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/keyname"
	"keystay/internal/ownfile"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// claim decides about one CLAIM and makes the name lead here.
func (sess *session) claim(ctx context.Context, c framing.Claim) (framing.Claimed, error) {
	if asked, relay, ok := framing.ParsePortName(c.Name); ok && relay == sess.srv.Domain && sess.link.Ports() {
		return sess.claimPort(ctx, c, asked)
	}
	granted, err := sess.decide(ctx, c, 0)
	if err != nil {
		return framing.Claimed{}, sess.denied(err)
	}
	return framing.Claimed{OrderIn: granted.OrderIn}, nil
}

// decide decides about one claim, and makes the name lead here if it is granted.
//
// What was cut between the decision and that may have been looked for before the name
// led here. So it is then decided once more.
//
// Of the claim of a TCP port, port is the number that was asked for; else it is 0.
func (sess *session) decide(ctx context.Context, c framing.Claim, port uint16) (granted names.Granted, err error) {
	s, name := sess.srv, c.Name
	if normal, err := hostname.Normalize([]byte(name)); port == 0 && (err != nil || normal != name) {
		// The log gets no name that may be anything.
		return granted, &framing.Denial{Code: framing.DeniedInvalid, Text: "not a host name in lower case"}
	}
	if sess.away.Load() {
		return granted, goingAway(name)
	}
	asks := names.Claimant{Name: name, Key: sess.key, Token: c.Token, Source: sess.source(), Certified: c.Certified, Word: c.Word, Port: port}
	if len(c.Handovers) > 0 {
		if err := sess.succeed(ctx, c, asks); err != nil {
			return granted, err
		}
	}
	from, err := sess.heldBy(ctx, name, &asks)
	if err != nil {
		return granted, err
	}
	if sess.tried.spent(c.Token) {
		asks.Token = "" // it is not even looked at
	}
	if d := sess.tooManyWords(name, c.Word); d != nil {
		return granted, d
	}
	cuts := s.cuts.Load()
	if granted, err = s.Names.Claim(ctx, asks); err != nil {
		return granted, sess.guessed(c.Token, &asks, err)
	}
	again := slices.Contains(sess.granted(), name)
	if from != nil {
		s.presence.pass(name, from, sess.key)
	}
	if err := sess.bound(name); err != nil {
		return granted, err
	}
	if err := sess.appear(c); err != nil {
		return granted, err
	}
	if s.cuts.Load() != cuts {
		if granted, err = s.Names.Claim(ctx, asks); err != nil {
			s.presence.drop(sess, func(n string) bool { return n == name })
			return granted, told(err)
		}
	}
	if port == 0 {
		s.siblings.note(sess.key, c, s.router.kindOf(name))
	}
	sess.serves(c, again)
	return granted, nil
}

// bound finds out the limits of a name that the record grants, and returns an error where
// they are used up.
func (sess *session) bound(name string) error {
	b := &sess.srv.bounds
	if err := b.allow(name, sess.srv.presence.serving(name, sess.key), sess.srv.Names); err != nil {
		if left, ok := sess.srv.lines.usual.take(1, undecidedAgain); ok {
			sess.log().Warn("a name has the usual limits", "name", name, "err", err, hint.Attr(hint.All(err)), left)
		}
	}
	if d := b.usedUp(name, sess.key); d != nil {
		return d
	}
	return nil
}

// appear takes a name that is granted away from an older run, and returns an error where a
// newer one has it, here or on another node.
func (sess *session) appear(c framing.Claim) error {
	if d := sess.newerOnNode(c); d != nil {
		return d
	}
	p := &sess.srv.presence
	if err := p.claim(sess, c); err != nil {
		var d *framing.Denial
		if errors.As(err, &d) && d.Code == framing.DeniedTaken { // the record has just said otherwise
			return aboutToBeLost(c.Name)
		}
		return err
	}
	if d := sess.newerOnNode(c); d != nil { // it may have come up there before this node had it
		p.drop(sess, func(n string) bool { return n == c.Name })
		return d
	}
	return nil
}

// guessed returns why a claim is denied that came with a token, as a remote is told it,
// and counts the token. Asks is what was decided about, perhaps without it.
func (sess *session) guessed(token string, asks *names.Claimant, err error) error {
	var d *names.Denied
	if asks.Token != token && errors.As(err, &d) {
		d.Text = "too many tokens were tried on this link"
	}
	sess.tried.add(token)
	return told(err)
}

// heldBy returns the other identity that is connected for a name and has handed over, so
// that the name passes from it to this session's; nil where there is none. The error is a
// *framing.Denial where another identity keeps the name: it is connected for a name below
// the zone, and has that whatever the record says. Of another name DNS decides.
//
// The denial is for good, so it waits for what other nodes have written. Where they have
// given the name to this session's identity, the other one is about to lose it.
func (sess *session) heldBy(ctx context.Context, name string, asks *names.Claimant) (from ed25519.PublicKey, err error) {
	n := sess.srv.Names
	err = names.Sure(ctx, n, func() (err error) {
		from, err = sess.heldNow(name, asks)
		return err
	})
	if d := (*names.Denied)(nil); errors.As(err, &d) {
		if owner, err := n.Holder(name); err == nil && owner.Equal(sess.key) {
			return nil, aboutToBeLost(name)
		}
	}
	return from, told(err)
}

// heldNow is heldBy by what this node knows. The error is a *names.Denied.
func (sess *session) heldNow(name string, asks *names.Claimant) (from ed25519.PublicKey, err error) {
	s := sess.srv
	holder := s.presence.holder(name)
	switch {
	case holder == nil || holder.Equal(sess.key):
		return nil, nil
	case s.Names.Retired(&names.Claimant{Key: holder}) != nil:
		return holder, nil
	case sess.custom(name):
		return nil, nil
	}
	if d := s.Names.Retired(asks); d != nil { // which says more
		return nil, d
	}
	return nil, names.Taken(name)
}

// aboutToBeLost is the denial of a name that is the asking identity's by the record, while
// another one is still connected for it.
func aboutToBeLost(name string) *framing.Denial {
	return &framing.Denial{Name: name, Code: framing.DeniedUnavailable, Text: "the device that had this name is about to lose it: ask again"}
}

// serves is called when a name leads here, again if it did before.
func (sess *session) serves(c framing.Claim, again bool) {
	s := sess.srv
	s.router.expected.arrived(c.Name)
	claimed := Claimed{c.Name, sess.key, sess.run, c.Replica}
	s.offers.giveUp(claimed, framing.Run.Replaces)
	if s.OnClaim != nil {
		s.OnClaim(claimed)
	}
	if again {
		sess.log().Debug("name is up already", "name", c.Name)
	} else if left, ok := s.lines.up.take(linkLines, time.Minute); ok {
		sess.log().Info("name is up", "name", c.Name, left)
	}
}

// custom reports whether a name is not below the relay's own, nor a port of the relay's,
// so that DNS gives it to devices.
func (sess *session) custom(name string) bool {
	return !hostname.IsBelow(name, sess.srv.Domain) && !names.IsPort(name)
}

// release gives a name back, as its device wishes.
func (sess *session) release(ctx context.Context, name string) error {
	name = sess.meant(name)
	n := sess.srv.Names
	if err := names.Sure(ctx, n, func() error { return n.Release(name, sess.key) }); err != nil {
		var d *names.Denied
		if errors.As(err, &d) {
			return &framing.NotReleased{Name: name, Text: d.Text}
		}
		return err
	}
	sess.srv.cuts.Add(1) // a claim of it that is under way is decided again
	for _, other := range forfeitLed(&sess.srv.presence, sess.srv.Names, name, sess.key) {
		if other != sess { // which has the answer
			other.revoke(framing.Denial{Name: name, Code: framing.DeniedReleased, Text: "this device has given the name back"})
		}
	}
	sess.log().Info("name is released by its device", "name", name)
	return nil
}

// unclaim takes a name off the link, as its remote wishes. The identity keeps it.
func (sess *session) unclaim(name string) {
	s := sess.srv
	name = sess.meant(name)
	if !slices.Contains(sess.granted(), name) {
		return
	}
	s.Names.Remember([]string{name}) // before visitors look for it
	s.presence.drop(sess, func(n string) bool { return n == name })
	if err := s.Names.Seen([]string{name}, sess.key); err != nil && s.departure.Load() == nil {
		if left, ok := s.lines.unseen.take(1, undecidedAgain); ok {
			sess.log().Warn("cannot keep when the names were last used", "err", err, hint.Attr(hint.All(err)), left)
		}
	}
	sess.log().Debug("name is served here no more", "name", name)
}

// tooManyWords returns the denial of one more name made from the key and a word. Such
// names are in no record, so they are counted on each link.
func (sess *session) tooManyWords(name, word string) *framing.Denial {
	if word == "" {
		return nil
	}
	held, most := 0, sess.srv.Names.NamesAtMost()
	for _, n := range sess.granted() {
		label, zone, _ := strings.Cut(n, ".")
		if n == name {
			return nil
		}
		if keyname.Is(label) && zone == sess.srv.Domain {
			held++
		}
	}
	if held < most {
		return nil
	}
	return &framing.Denial{Name: name, Code: framing.DeniedLimit, Text: fmt.Sprintf("a device may have %d names made from its key here", most)}
}

// order begins or ends a replica's turn to order a certificate.
func (sess *session) order(name string, begins bool) bool {
	s := sess.srv
	if s.Nodes == nil {
		return s.presence.order(sess, name, begins)
	}
	return s.presence.mayOrder(sess, name) && s.Nodes.Order(name, sess.run, begins, func() bool {
		ok, _ := s.bounds.addresses.Allow(limits.Turn, sess.source())
		return ok
	})
}

// denialCodes are the codes of the protocol for those of names.
var denialCodes = map[names.Code]framing.DenialCode{
	names.DeniedInvalid:     framing.DeniedInvalid,
	names.DeniedTaken:       framing.DeniedTaken,
	names.DeniedToken:       framing.DeniedToken,
	names.DeniedClosed:      framing.DeniedClosed,
	names.DeniedLimit:       framing.DeniedLimit,
	names.DeniedUnavailable: framing.DeniedUnavailable,
	names.DeniedBanned:      framing.DeniedBanned,
	names.DeniedUnproven:    framing.DeniedUnproven,
}

// denial is what a remote is told of a claim that is denied.
func denial(d *names.Denied) *framing.Denial {
	return &framing.Denial{Name: d.Name, Code: denialCodes[d.Code], Text: d.Text, Hint: strings.Join(d.Hints, "; "), Retry: d.Retry}
}

// tellBanned tells OnBanned.
func (sess *session) tellBanned(name, why string) {
	f := sess.srv.OnBanned
	if f == nil {
		return
	}
	if _, ok := sess.srv.lines.banned.take(bannedLines, time.Hour); ok {
		f(keyname.Label(sess.key, ""), name, why)
	}
}

// told returns the error of a claim as a remote is told it.
func told(err error) error {
	var d *names.Denied
	if errors.As(err, &d) {
		return denial(d)
	}
	return err
}

// noRecord is what a remote is told while the record of names cannot be read or written:
// names that identities have already are theirs all the same.
const noRecord = "the relay could not decide now: it cannot reach its record of names, and gives out no new name until it can"

func (sess *session) denied(err error) error {
	var d *framing.Denial
	if errors.As(err, &d) {
		if left, ok := sess.srv.lines.denied.take(deniedLines, time.Minute); ok {
			sess.log().Info("claim denied", "name", d.Name, "reason", d.Text, left)
			if d.Code == framing.DeniedBanned {
				sess.tellBanned(d.Name, d.Text)
			}
		}
		return err
	}
	if left, ok := sess.srv.lines.undecided.take(1, undecidedAgain); ok {
		if path := new(fs.PathError); errors.As(err, &path) {
			err = ownfile.Explain(err, path.Path)
		}
		sess.log().Error("cannot decide about a claim", "err", err, hint.Attr(hint.All(err)), left)
	}
	if errors.Is(err, names.ErrClosed) {
		return &framing.Denial{Code: framing.DeniedUnavailable, Text: noRecord}
	}
	return fmt.Errorf("decide: %w", err)
}
