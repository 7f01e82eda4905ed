package browser

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// A reader is a connection from which bytes can be read, and no more.
type reader struct {
	net.Conn
	io.Reader
}

func (r reader) Read(b []byte) (int, error) { return r.Reader.Read(b) }

// Whatever a server sends, all of it is read through the tap as it came, up to a chain that
// is too long, and what is kept of it is bounded.
func FuzzTap(f *testing.F) {
	record := func(kind byte, content ...byte) []byte {
		return append([]byte{kind, 3, 3, byte(len(content) >> 8), byte(len(content))}, content...)
	}
	hello := append([]byte{messageServerHello, 0, 0, 37}, make([]byte, 37)...)
	chain := []byte{0, 0, 7, 0, 0, 4, 'l', 'e', 'a', 'f'}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(append(append([]byte{0, 0, 0, 9}, chain[3:]...), 0, 0))
	z.Close()
	size := byte(packed.Len())
	f.Add(append(record(recordHandshake, hello...), record(recordHandshake, append([]byte{messageCertificate, 0, 0, 10}, chain...)...)...))
	f.Add(record(recordHandshake, append([]byte{messageCompressed, 0, 0, 8 + size, 0, 1, 0, 0, 13, 0, 0, size}, packed.Bytes()...)...))
	f.Add(append(record(recordHandshake, hello...), record(recordData, make([]byte, 40)...)...))
	f.Add(record(recordHandshake, messageCompressed, 0xff, 0xff, 0xff, 0, 3, 0xff, 0xff, 0xff, 0, 0, 1))
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn := newTap(reader{Reader: bytes.NewReader(sent)})
		secretLog{conn}.Write([]byte("SERVER_HANDSHAKE_TRAFFIC_SECRET 00 " + strings.Repeat("00", 32) + "\n"))
		got, err := io.ReadAll(conn)
		if !bytes.HasPrefix(sent, got) || err == nil && len(got) != len(sent) || err != nil && !errors.Is(err, errLongChain) {
			t.Errorf("%x is read as %x, %v", sent, got, err)
		}
		if n := len(bytes.Join(conn.chain, nil)); n > maxChain {
			t.Errorf("%d bytes of certificates are kept", n)
		}
	})
}
