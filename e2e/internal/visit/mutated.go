package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"keystay/internal/hostname"
	"keystay/sni"
)

// sampleHellos returns the ClientHellos of the folder e2e to begin with: those that package sni has recorded
// from clients, and a sample of those in other projects' tests and fuzzers.
func sampleHellos(dir string) (list [][]byte, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "../sni/testdata/*.bin"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	f, err := os.Open(filepath.Join(dir, "testdata/hellos.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for {
		var n uint32
		err := binary.Read(z, binary.BigEndian, &n)
		if err == io.EOF {
			break
		}
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(z, b)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	if len(list) < 100 {
		return nil, fmt.Errorf("only %d hellos to begin with", len(list))
	}
	return list, nil
}

// zone is that of the relay in the tests.
const zone = "relay.test"

// heldName is the name of n bytes that the device holds, or "".
func heldName(n int) string {
	label := n - len("."+zone)
	if label < 1 || label > 30 {
		return ""
	}
	return strings.Repeat("x", label) + "." + zone
}

// A mutator makes hellos of others, by chance.
type mutator struct {
	*rand.Rand
	from [][]byte
}

// next returns a hello, in three of four cases one that asks for a name of the device,
// and with up to four mistakes in it.
func (m *mutator) next() []byte {
	b := slices.Clone(m.from[m.IntN(len(m.from))])
	if h, err := sni.Parse(b); err == nil && m.IntN(4) > 0 {
		if name := heldName(len(h.ServerName)); name != "" && bytes.Count(b, h.ServerName) == 1 {
			b = bytes.Replace(b, h.ServerName, []byte(name), 1)
		}
	}
	if m.IntN(8) == 0 {
		b = m.records(b)
	}
	for range []int{0, 0, 1, 1, 2, 4}[m.IntN(6)] {
		b = m.change(b)
	}
	return b
}

// records puts the handshake message of a hello into other records.
func (m *mutator) records(b []byte) (out []byte) {
	if len(b) < 6 {
		return b
	}
	for p := b[5:]; len(p) > 0; {
		n := 1 + m.IntN(min(len(p), 600))
		out = append(out, 22, 3, byte(1+m.IntN(3)), byte(n>>8), byte(n))
		out = append(out, p[:n]...)
		p = p[n:]
	}
	return out
}

// change makes one mistake.
func (m *mutator) change(b []byte) []byte {
	if len(b) == 0 {
		return []byte{22}
	}
	at := m.IntN(len(b))
	if m.IntN(2) == 0 { // where the lengths are
		at = min(at, m.IntN(80))
	}
	end := min(len(b), at+1+m.IntN(16))
	switch m.IntN(9) {
	case 0:
		b[at] ^= 1 << m.IntN(8)
	case 1:
		b[at] = []byte{0, 1, 0x7f, 0x80, 0xff, '.', 'x', 22}[m.IntN(8)]
	case 2:
		return slices.Delete(b, at, end)
	case 3:
		return slices.Insert(b, at, slices.Clone(b[at:end])...)
	case 4:
		return b[:at]
	case 5:
		other := m.from[m.IntN(len(m.from))]
		return append(b[:at:at], other[min(at, len(other)):]...)
	case 6:
		for i := range b[at:end] {
			b[at+i] = byte(m.Uint32())
		}
	case 7:
		return append(b, m.from[m.IntN(len(m.from))]...)
	case 8:
		if i := bytes.LastIndex(b, []byte("."+zone)); i > 0 {
			b[i+m.IntN(len("."+zone))] ^= 0x20
		}
	}
	return b
}

// An opinion is what crypto/tls says of a hello: that it is one, and the name it asks for.
type opinion struct {
	hello bool
	name  string // as it was sent
}

// theirOpinion lets crypto/tls read b and then an end.
func theirOpinion(b []byte) (o opinion) {
	_ = tls.Server(&readOnly{r: bytes.NewReader(b)}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		o = opinion{true, h.ServerName}
		return nil, errSeen
	}}).Handshake()
	return o
}

var errSeen = errors.New("seen")

// readOnly is a connection that delivers what r does.
type readOnly struct {
	net.Conn
	r io.Reader
}

func (c *readOnly) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (c *readOnly) SetWriteDeadline(time.Time) error { return nil }
func (c *readOnly) Close() error                     { return nil }

// wanted is where crypto/tls would have a visitor go: to the device, by that name, or
// not, with "". A name with a dot at its end is one to the relay, and none to crypto/tls.
func wanted(b []byte) string {
	o := theirOpinion(b)
	if !o.hello {
		h, err := sni.Parse(b)
		if err != nil || !bytes.HasSuffix(h.ServerName, []byte(".")) {
			return ""
		}
		o.name = string(h.ServerName)
	}
	name, err := hostname.Normalize([]byte(o.name))
	if err != nil || heldName(len(name)) != name {
		return ""
	}
	return name
}

// send sends b to the relay in pieces, from one of many addresses, and returns what
// comes back until the end.
func (m *mutator) send(addr string, b []byte) (string, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(m.IntN(256)), byte(2+m.IntN(250)))}
	d := net.Dialer{LocalAddr: from, Timeout: limit}
	dialled, err := d.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	c := dialled.(*net.TCPConn)
	defer c.Close()
	c.SetLinger(0) // all is read by then, and no port is kept
	c.SetDeadline(time.Now().Add(limit))
	for pieces := 1 + m.IntN(4)*m.IntN(2); len(b) > 0; pieces-- {
		n := len(b)
		if pieces > 1 {
			n = 1 + m.IntN(len(b))
		}
		if _, err := c.Write(b[:n]); err != nil {
			break // it is refused already, and what for can be read
		}
		b = b[n:]
	}
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if errors.Is(err, syscall.ECONNRESET) { // it was closed with bytes of ours unread
		err = nil
	}
	return string(got), err
}

// mutated sends hellos with mistakes in them, in pieces, to a relay whose device answers
// each visitor with D:, the name and all that comes. The device must get those for its
// names whole, and no others, as crypto/tls says. It prints how many it got.
func (v *visitor) mutated(_ context.Context, args []string) error {
	count := v.flags.Int64("n", 1000, "how many")
	seed := v.flags.Uint64("seed", rand.Uint64(), "of the chance")
	args, err := v.parse(args, 1)
	if err != nil {
		return err
	}
	from, err := sampleHellos(args[0])
	if err != nil {
		return err
	}
	var next, routed, wrong atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := next.Add(1); i <= *count && wrong.Load() < 5; i = next.Add(1) {
				m := &mutator{rand.New(rand.NewPCG(*seed, uint64(i))), from}
				b := m.next()
				name, want := wanted(b), ""
				if name != "" {
					want = fmt.Sprintf("D:%s\n%s", name, b)
					routed.Add(1)
				}
				got, err := m.send(v.via, b)
				if err != nil || want != "" && got != want || want == "" && strings.HasPrefix(got, "D:") {
					wrong.Add(1)
					fmt.Fprintf(os.Stderr, "seed %d, hello %d for %q: got %.60q, %v\n%x\n", *seed, i, name, got, err, b)
				}
			}
		})
	}
	wg.Wait()
	fmt.Println(routed.Load())
	if n := wrong.Load(); n > 0 {
		return fmt.Errorf("%d went wrong", n)
	}
	return nil
}
