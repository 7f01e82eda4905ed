// Package keyname makes a DNS label from a device's key. Such a label needs no
// permission, and nobody else can claim it.
package keyname

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Len is the length of a label in bytes: 160 bits of a hash in base32.
const Len = 32

const prefix = "keystay-name-v1\x00"

const alphabet = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648, section 6, in lower case

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Label returns the label made from an Ed25519 public key and a word: the first
// 20 bytes of SHA-256 over "keystay-name-v1", a zero byte, the key and the word,
// in lower-case base32. The word is empty for the device's first name.
func Label(key ed25519.PublicKey, word string) string {
	h := sha256.New()
	h.Write([]byte(prefix))
	h.Write(key)
	h.Write([]byte(word))
	return encoding.EncodeToString(h.Sum(nil)[:20])
}

// Is reports whether label has the form of a label made from a key.
func Is(label string) bool {
	return len(label) == Len && strings.Trim(label, alphabet) == ""
}
