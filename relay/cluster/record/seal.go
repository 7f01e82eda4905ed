package record

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math/bits"
	"time"

	"keystay/relay/names"
)

// derived returns a key of its own for one purpose.
func derived(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("keystay record 1 " + purpose))
	return h.Sum(nil)
}

// A sum is one number for a set of entries, whatever their order: the sum of their MACs,
// modulo 2^256. It is never shown: whoever knew it for many sets could find two sets
// with the same one.
type sum [4]uint64

func (s *sum) add(o sum) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
}

func (s *sum) sub(o sum) {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
}

// A sealer computes MACs of entries, in one goroutine.
type sealer struct {
	h   hash.Hash
	buf []byte
}

func newSealer(key []byte) *sealer { return &sealer{h: hmac.New(sha256.New, key)} }

// of returns the MAC of one entry.
func (s *sealer) of(t names.Table, key, value []byte) (n sum) {
	s.buf = binary.AppendUvarint(s.buf[:0], uint64(len(t)))
	s.buf = append(s.buf, t...)
	s.buf = binary.AppendUvarint(s.buf, uint64(len(key)))
	s.buf = append(s.buf, key...)
	s.buf = append(s.buf, value...)
	s.h.Reset()
	s.h.Write(s.buf)
	s.buf = s.h.Sum(s.buf[:0])
	for i := range n {
		n[i] = binary.LittleEndian.Uint64(s.buf[8*i:])
	}
	return n
}

// A head is what the record says about itself.
type head struct {
	Seq    uint64    `json:"seq"`              // how many transactions there were
	Time   time.Time `json:"time"`             // the record's time of the last of them
	Zone   string    `json:"zone,omitempty"`   // below which the names are; empty until a node has said it
	Staged string    `json:"staged,omitempty"` // the id of changes that count, and are not entries yet
	Done   int       `json:"done,omitempty"`   // how many of them are
	MAC    string    `json:"mac"`              // hexadecimal
}

// seal returns the MAC of a head and of the entries that it is the head of.
func (h head) seal(key []byte, entries sum) string {
	h.MAC = ""
	b, _ := json.Marshal(h) // which cannot fail
	m := hmac.New(sha256.New, key)
	for _, n := range entries {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	m.Write(b)
	return hex.EncodeToString(m.Sum(nil))
}

// write returns the head as it lies in etcd.
func (h head) write(key []byte, entries sum) string {
	h.MAC = h.seal(key, entries)
	b, _ := json.Marshal(h)
	return string(b)
}

// readHead reads what write has written. Whether it is right only the entries tell.
func readHead(value []byte) (h head, err error) {
	if err = json.Unmarshal(value, &h); err != nil || h.Seq == 0 {
		err = fmt.Errorf("%w: its head cannot be read", names.ErrDamaged)
	}
	return h, err
}
