package relay_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// A recordConn lies below a TLS client. It knows its keys, and can send records in
// its place.
type recordConn struct {
	net.Conn
	keys bytes.Buffer // in the form of tls.Config.KeyLogWriter

	mu      sync.Mutex
	sent    uint64 // records that were encrypted
	limited bool   // the client's own records are thrown away, but for its hello
}

// Write counts what is encrypted.
func (c *recordConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const header, handshake, encrypted = 5, 22, 23
	if c.limited && p[0] != handshake {
		return len(p), nil
	}
	for b := p; len(b) >= header; b = b[min(len(b), header+int(binary.BigEndian.Uint16(b[3:]))):] {
		if b[0] == encrypted {
			c.sent++
		}
	}
	return c.Conn.Write(p)
}

// message returns records of n bytes of a handshake message that never gets whole,
// encrypted as the secret of that label says (RFC 8446, section 7.3). The client
// writes nothing any more.
func (c *recordConn) message(t *testing.T, label string, seq uint64, n int) (all []byte) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limited = true
	_, secret, _ := strings.Cut(c.keys.String(), label+" ")
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

// Whatever a peer sends that is no data, TLS keeps little of it: a message of a
// handshake that goes on for ever ends the connection, in the handshake and after
// it.
func TestEndlessHandshakeMessageEndsTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		proto, label string
		hello        bool // of a link
	}{
		"a link's handshake":         {framing.Protocol, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", false},
		"a link before its HELLO":    {framing.Protocol, "CLIENT_TRAFFIC_SECRET_0", false},
		"a link":                     {framing.Protocol, "CLIENT_TRAFFIC_SECRET_0", true},
		"a lane":                     {framing.LaneProtocol, "CLIENT_TRAFFIC_SECRET_0", false},
		"the site's handshake":       {"http/1.1", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", false},
		"the site, between requests": {"http/1.1", "CLIENT_TRAFFIC_SECRET_0", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				conn := &recordConn{Conn: r.dial(), limited: strings.HasPrefix(c.label, "CLIENT_HANDSHAKE")}
				tc := tls.Client(conn, &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{c.proto}, KeyLogWriter: &conn.keys})
				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
				if c.hello {
					cs := tc.ConnectionState()
					id := newIdentity(t)
					hello := framing.Hello{Run: id.run}
					if err := hello.Sign(id.key, &cs, zone); err != nil {
						t.Fatal(err)
					}
					link, _, err := framing.Client(t.Context(), tc, hello, framing.Handler{})
					if err != nil {
						t.Fatal(err)
					}
					defer link.Close()
				}
				synctest.Wait()
				begin, before := time.Now(), uint64(0)
				if !conn.limited {
					before = conn.sent - 1 // the client's Finished has other keys
				}
				go conn.Conn.Write(conn.message(t, c.label, before, 200<<10))
				synctest.Wait()
				if _, err := conn.Conn.Write([]byte{0}); err == nil || !time.Now().Equal(begin) {
					t.Errorf("after %v the connection takes more: %v", time.Since(begin), err)
				}
				conn.Conn.Close()
				r.close()
			})
		})
	}
}
