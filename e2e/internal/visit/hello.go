package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// recordHeader is the length of a TLS record's header (RFC 8446, section 5.1).
const recordHeader = 5

// A greeting says what a ClientHello looks like and what comes after it.
type greeting struct {
	answer, nothing, old bool
	leave, hangUp, reset bool
	text, sni            string
	alpn, records        int
	segments, first      int
	after                int
	atLeast              time.Duration
}

func (g *greeting) flags(f *flag.FlagSet) {
	f.BoolVar(&g.answer, "answer", false, "print the answer's bytes instead of going on")
	f.IntVar(&g.alpn, "alpn", 0, "fill the hello with about `N` bytes of protocol names")
	f.IntVar(&g.records, "records", 0, "split it into records of `N` bytes")
	f.IntVar(&g.segments, "segments", 0, "write it `N` bytes at a time")
	f.IntVar(&g.first, "first", 0, "send only its first `N` bytes")
	f.IntVar(&g.after, "after", 0, "send `N` more bytes after it, unasked")
	f.StringVar(&g.text, "text", "", "send this `TEXT` instead of a hello")
	f.BoolVar(&g.nothing, "nothing", false, "send nothing")
	f.StringVar(&g.sni, "sni", "", "the server `NAME` to ask for, valid or not, with -answer")
	f.BoolVar(&g.old, "old", false, "offer no version of TLS above 1.1, and expect to be refused")
	f.BoolVar(&g.leave, "leave", false, "leave in the middle of the handshake")
	f.BoolVar(&g.hangUp, "hang-up", false, "leave when all is sent")
	f.BoolVar(&g.reset, "reset", false, "leave with a reset")
	f.DurationVar(&g.atLeast, "at-least", 0, "the answer must take that long")
}

// hello sends a ClientHello of a given shape for a name; - is none. With
// -answer it prints the bytes that come back until the end, else it goes on
// with the handshake.
func (v *visitor) hello(ctx context.Context, args []string) error {
	var g greeting
	g.flags(v.flags)
	args, err := v.parse(args, 1)
	if err != nil {
		return err
	}
	config, err := v.tls()
	if err != nil {
		return err
	}
	g.ask(config, args[0])
	c, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(deadline(ctx))
	if g.reset {
		c.SetLinger(0)
	}
	if !g.answer && !g.leave && !g.hangUp {
		return g.shake(ctx, c, config)
	}
	flight, err := g.flight(config)
	if err != nil {
		return err
	}
	if err := write(c, flight, g.segments); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "hello sent")
	if g.hangUp {
		return nil
	}
	if g.leave {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	began := time.Now()
	if err := showAnswer(c); err != nil {
		return err
	}
	if took := time.Since(began); took < g.atLeast {
		return fmt.Errorf("the answer took %v, expected at least %v", took, g.atLeast)
	}
	return nil
}

// ask makes config one for name.
func (g *greeting) ask(config *tls.Config, name string) {
	config.ServerName = name
	switch {
	case g.sni != "": // crypto/tls would not send some of these: see flight
		config.ServerName = strings.Repeat("x", len(g.sni))
	case name == "-":
		config.ServerName, config.InsecureSkipVerify = "", true
	}
	config.NextProtos = protocols(g.alpn)
	if g.old {
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}
}

// shake does the whole handshake.
func (g *greeting) shake(ctx context.Context, c *net.TCPConn, config *tls.Config) error {
	tc := tls.Client(&shaper{TCPConn: c, records: g.records, segments: g.segments}, config)
	err := tc.HandshakeContext(ctx)
	if g.old && err != nil {
		fmt.Println("refused:", err)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Printf("handshake complete with %s\n", tc.ConnectionState().PeerCertificates[0].DNSNames)
	return tc.Close()
}

// flight returns the bytes to send.
func (g *greeting) flight(config *tls.Config) ([]byte, error) {
	flight := []byte(g.text)
	if g.text == "" && !g.nothing {
		var err error
		if flight, err = firstFlight(config); err != nil {
			return nil, err
		}
		if g.sni != "" {
			flight = bytes.Replace(flight, []byte(config.ServerName), []byte(g.sni), 1)
		}
		flight = reshape(flight, g.records)
	}
	if g.first > 0 {
		flight = flight[:g.first]
	}
	return append(flight, make([]byte, g.after)...), nil
}

// recordHandshake is the first byte of a record that goes on with a handshake.
const recordHandshake = 22

// showAnswer prints what comes back until the end, and how that was.
func showAnswer(c *net.TCPConn) error {
	first := make([]byte, 1)
	n, err := c.Read(first)
	if n == 1 && first[0] == recordHandshake {
		fmt.Println("answer: a handshake")
		return nil
	}
	got := first[:n]
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(c)
		got = append(got, rest...)
	}
	fmt.Printf("answer: %x, then %s\n", got, end(err))
	return nil
}

// protocols returns names of about n bytes together, besides http/1.1.
func protocols(n int) []string {
	const each = 200
	list := []string{"http/1.1"}
	for i := range n / each {
		list = append(list, fmt.Sprintf("%0*d", each, i))
	}
	return list
}

// errFlight ends a handshake after its first flight.
var errFlight = errors.New("that is the first flight")

// firstFlight returns the records of a ClientHello.
func firstFlight(config *tls.Config) ([]byte, error) {
	var r recorder
	if err := tls.Client(&r, config).Handshake(); !errors.Is(err, errFlight) {
		return nil, err
	}
	return r.Bytes(), nil
}

// A recorder keeps what is written to it, and has nothing to read.
type recorder struct {
	net.TCPConn
	bytes.Buffer
}

func (r *recorder) Read([]byte) (int, error)    { return 0, errFlight }
func (r *recorder) Write(p []byte) (int, error) { return r.Buffer.Write(p) }
func (r *recorder) Close() error                { return nil }
func (*recorder) SetDeadline(time.Time) error   { return nil }

// A shaper gives the first flight that is written to it another shape.
type shaper struct {
	*net.TCPConn
	records, segments int
	later             bool // the first flight is over
}

func (s *shaper) Read(p []byte) (int, error) {
	s.later = true
	return s.TCPConn.Read(p)
}

func (s *shaper) Write(p []byte) (int, error) {
	if s.later {
		return s.TCPConn.Write(p)
	}
	if err := write(s.TCPConn, reshape(p, s.records), s.segments); err != nil {
		return 0, err
	}
	return len(p), nil
}

// reshape splits handshake records into records of n bytes; 0 leaves them.
func reshape(flight []byte, n int) []byte {
	if n == 0 {
		return flight
	}
	var out []byte
	for len(flight) > recordHeader {
		head, size := flight[:3], int(binary.BigEndian.Uint16(flight[3:]))
		payload := flight[recordHeader : recordHeader+size]
		flight = flight[recordHeader+size:]
		for len(payload) > 0 {
			m := min(n, len(payload))
			out = append(out, head...)
			out = binary.BigEndian.AppendUint16(out, uint16(m))
			out = append(out, payload[:m]...)
			payload = payload[m:]
		}
	}
	return out
}

// write writes b n bytes at a time; 0 is at once. TCP_NODELAY, Go's default,
// makes each a segment as far as the kernel has nothing in hand.
func write(c *net.TCPConn, b []byte, n int) error {
	if n == 0 {
		n = len(b)
	}
	for len(b) > 0 {
		m := min(n, len(b))
		if _, err := c.Write(b[:m]); err != nil {
			if end(err) == "reset" {
				return nil // the answer may be there all the same
			}
			return err
		}
		b = b[m:]
	}
	return nil
}
