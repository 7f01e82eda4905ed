package browser

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	utls "github.com/refraction-networking/utls"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
)

const (
	// maxChain bounds the certificates that are taken in, in bytes with their lengths: as
	// much as the TLS library takes where they come uncompressed.
	maxChain = 256 << 10
	// maxWindow bounds what zstd looks back to (RFC 8878, section 3.1.1.1.2).
	maxWindow = 8 << 20
	// maxFragment is what a record holds at most (RFC 5246, section 6.2.3).
	maxFragment = 1<<14 + 2048
	headerSize  = 5 // of a record
)

// Types of records (RFC 8446, section 5.1) and of handshake messages (section 4; RFC 8879).
const (
	recordCCS, recordAlert, recordHandshake, recordData = 20, 21, 22, 23
	lastRecord                                          = 26 // that is known

	messageServerHello, messageCertificate, messageCompressed = 2, 11, 25
)

// noSuchName is the alert unrecognized_name (RFC 6066, section 3), where it is fatal.
var noSuchName = []byte{2, 112}

// errLongChain is the error of a chain that is compressed and longer than maxChain.
var errLongChain = errors.New("the certificates are too long")

// A tap is a connection that keeps which certificates the server shows. The TLS library
// tells of them only where it takes all of them, and what browsers do not mind makes it
// refuse them: one behind the leaf that it cannot read, or whose key is too long for it. The
// tap reads the records before the library does, with the keys that this one derives.
type tap struct {
	net.Conn
	in     *bufio.Reader
	ready  []byte // of a record, to be read on
	over   bool   // nothing is looked at any more
	secret []byte // server_handshake_traffic_secret; nil before it is known
	open   cipher.AEAD
	iv     []byte
	seq    uint64 // of the next record
	suite  uint16
	hand   []byte // of the handshake's messages: the one that is not whole yet
	plain  bool   // it came in no encrypted record
	chain  [][]byte
	agreed func(utls.CurveID) // hears whose share a ServerHello takes; nil is nobody

	begun     bool // a first record has come
	elsewhere bool // it was none of TLS, or the alert that nobody has the name here
}

func newTap(conn net.Conn) *tap { return &tap{Conn: conn, in: bufio.NewReader(conn)} }

// Read returns one record at most while it looks, so that the library has derived the keys
// for the next one before that is read.
func (t *tap) Read(p []byte) (int, error) {
	if len(t.ready) == 0 {
		if t.over {
			return t.in.Read(p)
		}
		if err := t.next(); err != nil && len(t.ready) == 0 {
			return 0, err
		}
	}
	n := copy(p, t.ready)
	t.ready = t.ready[n:]
	return n, nil
}

// CloseWrite ends this side of the connection, where that has one.
func (t *tap) CloseWrite() error {
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

var _ interface{ CloseWrite() error } = (*tap)(nil)

// next reads a record, and looks at it. What is no record, and what came of one, is ready too.
func (t *tap) next() error {
	record := make([]byte, headerSize)
	n, err := io.ReadFull(t.in, record)
	t.ready = record[:n]
	t.elsewhere = t.elsewhere || !t.begun && n > 0 && (record[0] < recordCCS || record[0] > lastRecord)
	if err != nil {
		t.over = n > 0
		return err
	}
	size := int(binary.BigEndian.Uint16(record[3:]))
	// Nothing here is stricter than the library: it minds no version in the first record.
	if record[0] < recordCCS || record[0] > recordData || record[1] >= 0x10 || size > maxFragment {
		t.over = true
		return nil
	}
	record = append(record, make([]byte, size)...)
	n, err = io.ReadFull(t.in, record[headerSize:])
	t.ready = record[:headerSize+n]
	if err != nil {
		t.over = true
		return err
	}
	if !t.begun {
		t.begun, t.elsewhere = true, record[0] == recordAlert && bytes.Equal(record[headerSize:], noSuchName)
	}
	if err := t.look(record); err != nil {
		t.over, t.ready = true, nil
		return err
	}
	return nil
}

// look takes in a record.
func (t *tap) look(record []byte) error {
	kind, content := record[0], record[headerSize:]
	if kind == recordData {
		var ok bool
		if kind, content, ok = t.decrypt(record); !ok {
			t.over = true
			return nil
		}
	}
	if kind != recordHandshake {
		return nil
	}
	t.plain = record[0] == recordHandshake
	t.hand = append(t.hand, content...)
	for !t.over && len(t.hand) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(t.hand)&0xffffff)
		shown := t.hand[0] == messageCertificate || t.hand[0] == messageCompressed
		if len(t.hand) < min(size, maxChain) {
			return nil
		}
		if shown {
			return t.end()
		}
		if len(t.hand) < size { // the library takes none of that size
			t.over = true
			return nil
		}
		if t.hand[0] == messageServerHello {
			t.hello(t.hand[4:size])
		}
		t.hand = t.hand[size:]
	}
	return nil
}

// hello notes the cipher suite that a ServerHello chooses, and says which share it takes.
func (t *tap) hello(body []byte) {
	s := cryptobyte.String(body)
	var session cryptobyte.String
	_ = s.Skip(2+32) && s.ReadUint8LengthPrefixed(&session) && s.ReadUint16(&t.suite) // else the library refuses it
	if group := shareOf(s); t.agreed != nil {
		t.agreed(group)
	}
}

// end takes the certificates of the message that is there, whole or not, and looks at
// nothing more.
func (t *tap) end() error {
	t.over = true
	var err error
	if len(t.hand) >= 4 {
		body := t.hand[4:]
		if t.hand[0] == messageCertificate {
			t.chain = certificates(body, t.plain)
		} else if t.hand[0] == messageCompressed {
			t.chain, err = decompressed(body)
		}
	}
	t.hand, t.secret, t.open = nil, nil, nil
	return err
}

// A secretLog takes the secrets of a tap's connection in the form of SSLKEYLOGFILE (RFC
// 9850), which the library writes, and keeps the one that is needed.
type secretLog struct{ of *tap }

func (l secretLog) Write(line []byte) (int, error) {
	if part := strings.Fields(string(line)); len(part) == 3 && part[0] == "SERVER_HANDSHAKE_TRAFFIC_SECRET" && !l.of.over {
		l.of.secret, _ = hex.DecodeString(part[2])
	}
	return len(line), nil
}

// decrypt returns the content of a record of TLS 1.3 (RFC 8446, section 5.2), and its true
// type.
func (t *tap) decrypt(record []byte) (kind byte, content []byte, ok bool) {
	if t.open == nil && !t.derive() {
		return 0, nil, false
	}
	nonce := bytes.Clone(t.iv)
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], t.seq)
	for i, b := range seq {
		nonce[len(nonce)-len(seq)+i] ^= b
	}
	t.seq++
	content, err := t.open.Open(nil, nonce, record[headerSize:], record[:headerSize])
	content = bytes.TrimRight(content, "\x00")
	if err != nil || len(content) == 0 {
		return 0, nil, false
	}
	return content[len(content)-1], content[:len(content)-1], true
}

// derive derives the keys of the server's handshake (RFC 8446, section 7.3).
func (t *tap) derive() bool {
	hash, size := crypto.SHA256, 16
	switch t.suite {
	case utls.TLS_AES_256_GCM_SHA384:
		hash, size = crypto.SHA384, 32
	case utls.TLS_CHACHA20_POLY1305_SHA256:
		size = chacha20poly1305.KeySize
	}
	key, err := expand(hash, t.secret, "key", size)
	if err != nil {
		return false
	}
	if t.iv, err = expand(hash, t.secret, "iv", 12); err != nil {
		return false
	}
	if t.suite == utls.TLS_CHACHA20_POLY1305_SHA256 {
		t.open, err = chacha20poly1305.New(key)
		return err == nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return false
	}
	t.open, err = cipher.NewGCM(block)
	return err == nil
}

// expand is HKDF-Expand-Label (RFC 8446, section 7.1) without a context.
func expand(hash crypto.Hash, secret []byte, label string, size int) ([]byte, error) {
	if len(secret) == 0 {
		return nil, errors.New("there is no secret")
	}
	var info cryptobyte.Builder
	info.AddUint16(uint16(size))
	info.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	info.AddUint8(0)
	return hkdf.Expand(hash.New, secret, string(info.BytesOrPanic()), size)
}

// unread is the chain of which nothing can be read.
func unread() [][]byte { return [][]byte{nil} }

// certificates returns those of a Certificate message, as far as they are there. That of
// TLS 1.2 is plain, and has no extensions (RFC 5246, section 7.4.2).
func certificates(body []byte, plain bool) (chain [][]byte) {
	s := cryptobyte.String(body)
	var context cryptobyte.String
	var size uint32
	if !plain && !s.ReadUint8LengthPrefixed(&context) || !s.ReadUint24(&size) {
		return unread()
	}
	if size == 0 {
		return nil
	}
	s = s[:min(len(s), int(size))]
	for {
		var cert, extensions cryptobyte.String
		if !s.ReadUint24LengthPrefixed(&cert) {
			break
		}
		chain = append(chain, bytes.Clone(cert))
		if !plain && !s.ReadUint16LengthPrefixed(&extensions) {
			break
		}
	}
	if len(chain) == 0 {
		return unread()
	}
	return chain
}

// decompressed is certificates of a CompressedCertificate message (RFC 8879, section 4).
func decompressed(body []byte) ([][]byte, error) {
	s := cryptobyte.String(body)
	var algorithm uint16
	var size, length uint32
	if !s.ReadUint16(&algorithm) || !s.ReadUint24(&size) || !s.ReadUint24(&length) {
		return unread(), nil
	}
	var in io.Reader
	var err error
	switch from := bytes.NewReader(s); utls.CertCompressionAlgo(algorithm) {
	case utls.CertCompressionBrotli:
		in = brotli.NewReader(from)
	case utls.CertCompressionZlib:
		in, err = zlib.NewReader(from)
	case utls.CertCompressionZstd:
		var z *zstd.Decoder
		if z, err = zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
			defer z.Close()
			in = z
		}
	default:
		err = errors.New("it was not offered")
	}
	if err == nil {
		body, _ = io.ReadAll(io.LimitReader(in, int64(min(size, maxChain)))) // what comes before an error counts
	} else {
		body = nil
	}
	if err = nil; size > maxChain {
		err = errLongChain
	}
	return certificates(body, false), err
}
