package framing

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// MaxHandovers is how many hand-overs a claim may have.
const MaxHandovers = 8

// The first bytes of the texts that the two identities of a hand-over sign. Each is used for
// nothing else.
const (
	handsOverPrefix = "keystay-handover-v1\x00old\x00"
	takesOverPrefix = "keystay-handover-v1\x00new\x00"
)

// handoverSize is the size of a hand-over in a CLAIM, in bytes.
const handoverSize = ed25519.PublicKeySize + 2*ed25519.SignatureSize

// ErrHandover is wrapped by the error of hand-overs that are none: one that not both
// identities have signed, one that does not go on where the one before it ends, or
// more than MaxHandovers.
var ErrHandover = errors.New("hand-over of an identity does not hold")

// A Handover says that one identity hands all that it has over to another one, for
// good. Both have signed it: the old one, since it loses what it has, and the new
// one, so that nobody makes another device's key the heir. It is no secret: only a link
// whose HELLO proves the new key can do anything with it.
type Handover struct {
	Old, New             ed25519.PublicKey
	OldSigned, NewSigned []byte // the signatures of the two, of 64 bytes; Verify checks them
}

// NewHandover makes the hand-over from one identity to another.
func NewHandover(old, to ed25519.PrivateKey) Handover {
	h := Handover{Old: old.Public().(ed25519.PublicKey), New: to.Public().(ed25519.PublicKey)}
	h.OldSigned = ed25519.Sign(old, h.text(handsOverPrefix))
	h.NewSigned = ed25519.Sign(to, h.text(takesOverPrefix))
	return h
}

// text is what is signed.
func (h *Handover) text(prefix string) []byte {
	return slices.Concat([]byte(prefix), h.Old, h.New)
}

// verify checks one hand-over.
func (h *Handover) verify() error {
	switch {
	case len(h.Old) != ed25519.PublicKeySize || len(h.New) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: a key is missing", ErrHandover)
	case h.Old.Equal(h.New):
		return fmt.Errorf("%w: both keys are the same", ErrHandover)
	case !ed25519.Verify(h.Old, h.text(handsOverPrefix), h.OldSigned):
		return fmt.Errorf("%w: the old key has not signed it", ErrHandover)
	case !ed25519.Verify(h.New, h.text(takesOverPrefix), h.NewSigned):
		return fmt.Errorf("%w: the new key has not signed it", ErrHandover)
	}
	return nil
}

// Handovers are several, one after the other: the new key of each is the old key of
// the next.
type Handovers []Handover

// Verify checks that they lead, one after the other, to the identity key. The error
// wraps [ErrHandover]. None at all are right.
func (list Handovers) Verify(key ed25519.PublicKey) error {
	if len(list) > MaxHandovers {
		return fmt.Errorf("%w: there are more than %d", ErrHandover, MaxHandovers)
	}
	for i := range list {
		next := key
		if i+1 < len(list) {
			next = list[i+1].Old
		}
		if !list[i].New.Equal(next) {
			return fmt.Errorf("%w: it leads to another key", ErrHandover)
		}
		if err := list[i].verify(); err != nil {
			return err
		}
	}
	return nil
}

// For returns list as one that leads to the identity key. A CLAIM does not have the
// new keys: each is the old key of the next hand-over, and the last that of HELLO.
func (list Handovers) For(key ed25519.PublicKey) Handovers {
	list = slices.Clone(list)
	for i := range list {
		list[i].New = key
		if i+1 < len(list) {
			list[i].New = list[i+1].Old
		}
	}
	return list
}

// add writes the last field of CLAIM.
func (list Handovers) add(b *cryptobyte.Builder) {
	for i := range list {
		b.AddBytes(list[i].Old)
		b.AddBytes(list[i].OldSigned)
		b.AddBytes(list[i].NewSigned)
	}
}

// parseHandovers reads what add writes, without the new keys: see For.
func parseHandovers(p []byte) (list Handovers, err error) {
	if len(p)%handoverSize != 0 || len(p) > MaxHandovers*handoverSize {
		return nil, protocolErrorf("CLAIM with hand-overs of %d bytes", len(p))
	}
	for s := cryptobyte.String(p); !s.Empty(); {
		var h Handover
		s.ReadBytes((*[]byte)(&h.Old), ed25519.PublicKeySize)
		s.ReadBytes(&h.OldSigned, ed25519.SignatureSize)
		s.ReadBytes(&h.NewSigned, ed25519.SignatureSize)
		list = append(list, h)
	}
	return list, nil
}
