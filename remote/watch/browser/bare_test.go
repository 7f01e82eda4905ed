package browser_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"

	"keystay/internal/memconn"
)

// A bare server speaks TLS 1.3 as far as to one message behind its hello, of any content
// and with any cipher suite (RFC 8446).
type bare struct {
	suite   uint16
	message []byte
	pad     int // zeros behind the content of each record
}

// certificateMessage returns the message of the certificates.
func certificateMessage(chain ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddUint8(0)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, der := range chain {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
			b.AddUint16(0)
		}
	})
	return b.BytesOrPanic()
}

// message is a handshake message of a type.
func message(kind byte, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// compressedMessage returns a CompressedCertificate message (RFC 8879, section 4), which
// says that it decompresses to size bytes.
func compressedMessage(algorithm uint16, size int, content []byte) []byte {
	var b cryptobyte.Builder
	b.AddUint16(algorithm)
	b.AddUint24(uint32(size))
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return message(25, b.BytesOrPanic())
}

// serve answers one hello, and waits until the client has left.
func (s *bare) serve(t *testing.T, conn *memconn.Conn) {
	defer conn.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	hello := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(conn, hello); err != nil {
		t.Error(err)
		return
	}
	session, share := offered(hello)
	key, _ := ecdh.X25519().GenerateKey(rand.Reader)
	peer, err := ecdh.X25519().NewPublicKey(share)
	if err != nil {
		t.Errorf("no key share of X25519: %v", err)
		return
	}
	common, _ := key.ECDH(peer)
	var b cryptobyte.Builder
	b.AddUint16(tls.VersionTLS12)
	b.AddBytes(make([]byte, 32))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(session) })
	b.AddUint16(s.suite)
	b.AddUint8(0)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddBytes([]byte{0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32})
		b.AddBytes(key.PublicKey().Bytes())
	})
	answer := message(2, b.BytesOrPanic())
	record(conn, 22, answer)
	hash, size := crypto.SHA256, 16
	switch s.suite {
	case tls.TLS_AES_256_GCM_SHA384:
		hash, size = crypto.SHA384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		size = 32
	}
	digest := func(parts ...[]byte) []byte {
		h := hash.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	expand := func(secret []byte, label string, context []byte, size int) []byte {
		info := append([]byte{byte(size >> 8), byte(size), byte(6 + len(label))}, "tls13 "+label...)
		out, _ := hkdf.Expand(hash.New, secret, string(append(append(info, byte(len(context))), context...)), size)
		return out
	}
	early, _ := hkdf.Extract(hash.New, make([]byte, hash.Size()), nil)
	shaking, _ := hkdf.Extract(hash.New, common, expand(early, "derived", digest(), hash.Size()))
	secret := expand(shaking, "s hs traffic", digest(hello, answer), hash.Size())
	iv := expand(secret, "iv", nil, 12)
	var seal cipher.AEAD
	if s.suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		seal, _ = chacha20poly1305.New(expand(secret, "key", nil, size))
	} else {
		block, _ := aes.NewCipher(expand(secret, "key", nil, size))
		seal, _ = cipher.NewGCM(block)
	}
	rest := append(message(8, []byte{0, 0}), s.message...)
	for seq := byte(0); len(rest) > 0; seq++ {
		content := append([]byte(nil), rest[:min(len(rest), 1<<14-s.pad)]...)
		rest = rest[len(content):]
		content = append(append(content, 22), make([]byte, s.pad)...)
		nonce := append([]byte(nil), iv...)
		nonce[11] ^= seq
		n := len(content) + seal.Overhead()
		conn.Write(append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, seal.Seal(nil, nonce, content, []byte{23, 3, 3, byte(n >> 8), byte(n)})...))
	}
	_ = conn.CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

func record(w io.Writer, kind byte, content []byte) {
	_, _ = w.Write(append([]byte{kind, 3, 3, byte(len(content) >> 8), byte(len(content))}, content...))
}

// offered returns the session and the key share of X25519 of a ClientHello.
func offered(hello []byte) (session, share []byte) {
	s := cryptobyte.String(hello)
	var id, suites, compressions, extensions cryptobyte.String
	if !s.Skip(38) || !s.ReadUint8LengthPrefixed(&id) || !s.ReadUint16LengthPrefixed(&suites) || !s.ReadUint8LengthPrefixed(&compressions) || !s.ReadUint16LengthPrefixed(&extensions) {
		return nil, nil
	}
	for !extensions.Empty() {
		var kind uint16
		var content, shares cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&content) {
			break
		}
		if kind != 51 || !content.ReadUint16LengthPrefixed(&shares) {
			continue
		}
		for !shares.Empty() {
			var group uint16
			var key cryptobyte.String
			if !shares.ReadUint16(&group) || !shares.ReadUint16LengthPrefixed(&key) {
				break
			}
			if group == uint16(tls.X25519) {
				return id, key
			}
		}
	}
	return id, nil
}
