package testnet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
)

// A RecordConn lies below a client of TLS 1.3. It knows its keys, and can send records
// in its place.
type RecordConn struct {
	net.Conn
	Keys       bytes.Buffer // for tls.Config.KeyLogWriter
	Handshakes bool         // the client sends its hello and nothing else

	mu   sync.Mutex
	sent uint64 // records that were encrypted
	mute bool   // the client's own records are thrown away
}

// Write counts what is encrypted.
func (c *RecordConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const header, handshake, encrypted = 5, 22, 23
	if c.mute || c.Handshakes && p[0] != handshake {
		return len(p), nil
	}
	for b := p; len(b) >= header; b = b[min(len(b), header+int(binary.BigEndian.Uint16(b[3:]))):] {
		if b[0] == encrypted {
			c.sent++
		}
	}
	return c.Conn.Write(p)
}

// Endless returns records of n bytes of a handshake message that never gets whole. They
// are encrypted with the keys of the handshake where Handshakes is set, else with those
// for data (RFC 8446, section 7.3). The client writes nothing any more.
func (c *RecordConn) Endless(t testing.TB, n int) (all []byte) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
	label, seq := "CLIENT_HANDSHAKE_TRAFFIC_SECRET", uint64(0)
	if !c.Handshakes {
		label, seq = "CLIENT_TRAFFIC_SECRET_0", c.sent-1 // the client's Finished has other keys
	}
	_, secret, _ := strings.Cut(c.Keys.String(), label+" ")
	secret = strings.Fields(secret)[1] // behind the client's random bytes
	key, err := hex.DecodeString(secret)
	if err != nil || len(key) != sha256.Size {
		t.Fatalf("%d bytes of a secret: %v", len(key), err)
	}
	expand := func(label string, n int) []byte {
		label = "tls13 " + label
		b, err := hkdf.Expand(sha256.New, key, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err != nil {
		t.Fatal(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	iv := expand("iv", 12)
	rest := append([]byte{11, 3, 0xff, 0xff}, make([]byte, n-4)...) // a certificate of 256 KiB
	for ; len(rest) > 0; seq++ {
		const handshake = 22
		part := min(len(rest), 16<<10)
		plain := append(bytes.Clone(rest[:part]), handshake)
		rest = rest[part:]
		nonce := bytes.Clone(iv)
		for i := range 8 {
			nonce[4+i] ^= byte(seq >> (56 - 8*i))
		}
		head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(plain)+seal.Overhead()))
		all = append(all, seal.Seal(head, nonce, plain, head)...)
	}
	return all
}

// CloseWrite ends this side, where the connection below can.
func (c *RecordConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

var _ interface{ CloseWrite() error } = (*RecordConn)(nil)
