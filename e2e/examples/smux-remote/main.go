// Smux-remote is a remote written from framing/PROTOCOL.md: stock smux carries the
// session, crypto/tls does the rest. It holds one name, ends TLS with a certificate
// that it makes itself, and shows a short page to one visitor after the other. What it
// leaves out: a key that lasts, a certificate that browsers trust, answers of more
// than 16 KiB, lanes, an end in good order, and a second link when the first is lost.
//
//	smux-remote relay.example relay.example:443 NAME
//	curl --cacert smux-remote.pem https://NAME/
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/xtaci/smux"
)

// Link records, section 1 of PROTOCOL.md, and stream records, section 6.
const (
	hello, welcome, claim, claimed          = 0x01, 0x02, 0x04, 0x05
	ping, pong, goAway, goAwayAck, mux      = 0x10, 0x11, 0x12, 0x13, 0x21
	data, end, reset, credit, initialCredit = 0x02, 0x03, 0x04, 0x05, 16 << 10
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: smux-remote RELAY HOST:PORT NAME")
	}
	l, cert := dial(os.Args[1], os.Args[2], os.Args[3]), selfMade(os.Args[3])
	fmt.Println(os.Args[3])
	go func() {
		for range time.Tick(12 * time.Second) {
			l.send(ping, make([]byte, 8))
		}
	}()
	config := smux.DefaultConfig()
	config.Version, config.KeepAliveDisabled = 2, true
	session := must(smux.Server(l, config)) // it is silent before the relay's START_MUX
	for {
		v := &visitor{Stream: must(session.AcceptStream()), left: initialCredit}
		v.serve(&tls.Config{Certificates: []tls.Certificate{cert}})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// dial makes a link that holds the name, sections 1 to 3 of PROTOCOL.md.
func dial(relay, address, name string) *link {
	c := must(tls.Dial("tcp", address, &tls.Config{ServerName: relay, MinVersion: tls.VersionTLS13, NextProtos: []string{"keystay/1"}}))
	state := c.ConnectionState()
	exporter := must(state.ExportKeyingMaterial("EXPORTER-keystay-link-v1", nil, 32))
	public, key, _ := ed25519.GenerateKey(nil)
	proof := ed25519.Sign(key, append([]byte("keystay-link-v1\x00remote\x00"+relay+"\x00"), exporter...))
	run, agent := []byte("\x00\x00\x00\x00\x00\x00\x00\x01"+rand.Text()[:16]), []byte("\x0bsmux-remote")
	l := &link{Conn: c}
	l.send(hello, slices.Concat([]byte{1, 0, 0, 0, 0}, public, proof, run, agent)) // minor 1, no capabilities
	l.send(claim, append([]byte{byte(len(name))}, name+"\x00\x00\x00"...))         // no token, no flags
	for _, want := range []byte{welcome, claimed} {
		if t, p, err := read(c); t != want { // REFUSED or DENIED
			log.Fatalf("the relay answered 0x%02x %q, %v", t, p, err)
		}
	}
	return l
}

// selfMade makes a certificate, and a file of it for visitors to trust.
func selfMade(name string) tls.Certificate {
	public, key, _ := ed25519.GenerateKey(nil)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0)}
	der := must(x509.CreateCertificate(rand.Reader, t, t, public, key))
	must(0, pem.Encode(must(os.Create("smux-remote.pem")), &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// read reads a record, of a link or of a stream. Where there is none, t is 0.
func read(r io.Reader) (t byte, payload []byte, err error) {
	var h [3]byte
	if _, err = io.ReadFull(r, h[:]); err == nil {
		payload = make([]byte, binary.BigEndian.Uint16(h[1:]))
		_, err = io.ReadFull(r, payload)
	}
	return h[0], payload, err
}

func write(w io.Writer, t byte, payload []byte) error {
	_, err := w.Write(append([]byte{t, byte(len(payload) >> 8), byte(len(payload))}, payload...))
	return err
}

// A link is what smux runs on: the payloads of MUX records.
type link struct {
	*tls.Conn
	writing sync.Mutex
	frames  bytes.Buffer // of a MUX record, not read yet
}

func (l *link) send(t byte, payload []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return write(l.Conn, t, payload)
}

func (l *link) Write(b []byte) (int, error) { return len(b), l.send(mux, b) }

// Read answers the other records that it meets.
func (l *link) Read(b []byte) (int, error) {
	for l.frames.Len() == 0 {
		l.SetReadDeadline(time.Now().Add(18 * time.Second)) // PONG comes sooner, or the link is lost
		switch t, p, err := read(l.Conn); {
		case err != nil:
			return 0, err
		case t == mux:
			l.frames.Write(p)
		case t == ping:
			l.send(pong, p)
		case t == goAway: // the link stays until the relay closes it
			l.send(goAwayAck, nil)
		}
	}
	return l.frames.Read(b)
}

// A visitor is the connection of one visitor: a net.Conn on a smux stream.
type visitor struct {
	*smux.Stream
	in    bytes.Buffer // DATA that is not read yet
	taken int          // bytes read since the last CREDIT
	left  int          // bytes that may be sent
	over  error        // why nothing more comes: io.EOF after END
}

// Read skips HEADER, which tells the visitor's address, and CREDIT for longer answers.
func (v *visitor) Read(b []byte) (int, error) {
	for v.in.Len() == 0 && v.over == nil {
		switch t, p, err := read(v.Stream); {
		case err != nil: // FIN without END is no end
			v.over = io.ErrUnexpectedEOF
		case t == data:
			v.in.Write(p)
		case t == end:
			v.over = io.EOF
		case t == reset:
			v.over = syscall.ECONNRESET
		}
	}
	n, _ := v.in.Read(b)
	if v.taken += n; n > 0 && v.taken >= initialCredit/2 { // one CREDIT for each DATA could be a flood
		write(v.Stream, credit, binary.BigEndian.AppendUint32(nil, uint32(v.taken)))
		v.taken = 0
	}
	return n, v.over // over is nil if there was data
}

func (v *visitor) Write(b []byte) (int, error) {
	if v.left -= len(b); v.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), write(v.Stream, data, b)
}

// serve answers one request. Nobody keeps the next visitor waiting for more than a
// minute.
func (v *visitor) serve(config *tls.Config) {
	v.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Server(v, config)
	if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		n, _ := io.Copy(io.Discard, r.Body)
		page := fmt.Sprintf("%s %.99s, %d bytes, over stock smux\n", r.Method, r.URL, n)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(page), page)
		c.CloseWrite()
	}
	if v.over == nil || v.over == io.EOF { // else it was cut off
		write(v.Stream, end, nil)
	}
	for v.SetReadDeadline(time.Now().Add(10 * time.Second)); v.over == nil; v.in.Reset() {
		v.Read(nil) // smux's FIN before both ends would be a reset
	}
	v.Close()
}
