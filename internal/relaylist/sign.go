package relaylist

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Stamp is what signing sets in a list.
type Stamp struct {
	Serial  uint64 // higher than that of every document before
	Issued  time.Time
	Expires time.Time
}

// Sign returns a draft, signed by keys: a document that may lack what the stamp sets, and
// signatures, which are replaced. What it has beside is kept, also fields that this
// program does not know. Addresses of relays come into their normal form.
func Sign(draft []byte, stamp Stamp, keys ...ed25519.PrivateKey) ([]byte, error) {
	doc, err := parse(draft)
	if err != nil {
		return nil, fmt.Errorf("the draft is not the JSON that it should be: %w", err)
	}
	if _, there := doc["keystay_relays"]; !there {
		doc["keystay_relays"] = uint64(version)
	}
	doc["serial"] = stamp.Serial
	doc["issued"], doc["expires"] = stamp.Issued.UTC().Format(timeForm), stamp.Expires.UTC().Format(timeForm)
	if list, ok := doc["relays"].([]any); ok {
		for _, v := range list {
			entry, _ := v.(object)
			if s, ok := entry["relay"].(string); ok {
				if normal, err := Address(s); err == nil {
					entry["relay"] = normal
				}
			}
		}
	}
	if _, err := doc.list(); err != nil {
		return nil, fmt.Errorf("the draft's %w", err)
	}
	if len(keys) == 0 || len(keys) > MaxSignatures {
		return nil, fmt.Errorf("there are %d keys, and 1 to %d may sign", len(keys), MaxSignatures)
	}
	text := doc.signed()
	var signatures []any
	for _, key := range keys {
		signatures = append(signatures, object{"key": KeyOf(key).String(),
			"signature": base64.StdEncoding.EncodeToString(ed25519.Sign(key, text))})
	}
	doc["signatures"] = signatures
	out := doc.forPeople()
	if len(out) > MaxSize {
		return nil, fmt.Errorf("the list has %d bytes, at most %d", len(out), MaxSize)
	}
	return out, nil
}

// forPeople is the document with a line for each field, what matters most first.
func (o object) forPeople() []byte {
	order := []string{"keystay_relays", "name", "serial", "issued", "expires"}
	last := []string{"relays", "signatures"}
	var others []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(order, name) && !slices.Contains(last, name) {
			others = append(others, name)
		}
	}
	b := []byte{'{'}
	for i, name := range slices.Concat(order, others, last) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		b = appendValue(b, o[name])
	}
	var out bytes.Buffer
	_ = json.Indent(&out, append(b, '}'), "", "  ") // it is JSON
	out.WriteByte('\n')
	return out.Bytes()
}

// NewKey makes a key that signs lists, and returns it as PEM, PKCS #8 (RFC 8410).
func NewKey() ([]byte, Key, error) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, Key{}, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Key(public), nil
}

// ParsePrivateKey reads what NewKey returns.
func ParsePrivateKey(b []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("there is no PEM block in it")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := k.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("it holds no Ed25519 key")
	}
	return key, nil
}
