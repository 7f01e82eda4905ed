package publish_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"keystay/internal/socket"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// A rawEnd is a local service that sees and sends bytes.
type rawEnd struct {
	steps chan rawStep
	got   chan string
}

// A rawStep is what a rawEnd does when a request has come.
type rawStep struct {
	until  string // reads to here
	answer string
	end    bool // ends the connection
	abort  bool // resets the connection at the next byte
	watch  bool // waits for the end of the connection, and tells that it has come
}

// kinds are the ways to a local service.
var kinds = []string{"http", "https", "unix"}

// rawTarget is a Target of a kind with a rawEnd behind it.
func rawTarget(t *testing.T, kind string) (*publish.Target, *rawEnd) {
	t.Helper()
	network, addr := "tcp", "127.0.0.1:0"
	if kind == "unix" {
		network, addr = "unix", filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	target := &publish.Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: network, Addresses: []string{ln.Addr().String()}, Insecure: true}
	if kind == "https" {
		target.URL.Scheme = "https"
		cert := testca.New(t).Issue("localhost")
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	}
	e := &rawEnd{make(chan rawStep), make(chan string, 1)}
	end := testnet.Accept(ln, e.serve)
	t.Cleanup(func() { close(e.steps); end() })
	return target, e
}

func (e *rawEnd) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		if _, err := br.Peek(1); err != nil {
			return
		}
		step, ok := <-e.steps
		if !ok {
			return
		}
		var raw []byte
		for !bytes.HasSuffix(raw, []byte(step.until)) {
			b, err := br.ReadByte()
			if err != nil {
				raw = append(raw, "<"+err.Error()+">"...)
				break
			}
			raw = append(raw, b)
		}
		e.got <- string(raw)
		io.WriteString(c, step.answer)
		if step.abort {
			br.ReadByte()
			socket.Abort(c)
			return
		}
		if step.watch {
			_, err := br.ReadByte()
			e.got <- err.Error()
		}
		if step.end || step.watch {
			return
		}
	}
}

// crlf makes lines of a text; $H is the name.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", "\r\n"), "$H", domain)
}

// sorted puts the fields of a raw message in the order of their names, which
// net/http writes in an order of its own; equal names keep theirs.
func sorted(raw string) string {
	head, body, ok := strings.Cut(raw, "\r\n\r\n")
	if !ok {
		return raw
	}
	lines := strings.Split(head, "\r\n")
	slices.SortStableFunc(lines[1:], func(a, b string) int {
		name := func(s string) string { n, _, _ := strings.Cut(s, ":"); return strings.ToLower(n) }
		return strings.Compare(name(a), name(b))
	})
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// withoutForwarded takes out what every request gets, where it is right.
func withoutForwarded(raw, host string) string {
	for _, line := range []string{
		"X-Forwarded-For: 8.8.4.4", "X-Forwarded-Host: " + host, "X-Forwarded-Proto: https",
		`Forwarded: for=8.8.4.4;host="` + host + `";proto=https`,
	} {
		raw = strings.Replace(raw, "\r\n"+line+"\r\n", "\r\n", 1)
	}
	return raw
}

// say sends bytes and returns those that come back, n of them or up to an end.
func say(t *testing.T, c net.Conn, raw string, n int) string {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	return hear(c, n)
}

func hear(c net.Conn, n int) string {
	b := make([]byte, n)
	c.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadFull(c, b)
	if err != nil {
		return string(b[:got]) + "<" + err.Error() + ">"
	}
	return string(b)
}

// An h2Visitor speaks HTTP/2 frame by frame.
type h2Visitor struct {
	t      *testing.T
	conn   *tls.Conn
	fr     *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	stream uint32
}

func newH2Visitor(t *testing.T, p *published) *h2Visitor {
	t.Helper()
	return h2Over(t, p.visitor("h2"))
}

// h2Over speaks HTTP/2 on a connection.
func h2Over(t *testing.T, c *tls.Conn) *h2Visitor {
	io.WriteString(c, http2.ClientPreface)
	v := &h2Visitor{t: t, conn: c, fr: http2.NewFramer(c, c), stream: 1}
	v.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	v.enc = hpack.NewEncoder(&v.block)
	v.fr.WriteSettings()
	return v
}

// fields is a list of names and values, one each line: "name: value".
func (v *h2Visitor) headers(fields string, end bool) {
	v.block.Reset()
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSuffix(fields, "\n"), "$H", domain), "\n") {
		i := strings.Index(line[1:], ":") + 1
		v.enc.WriteField(hpack.HeaderField{Name: line[:i], Value: strings.TrimPrefix(line[i+1:], " ")})
	}
	v.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: v.stream, BlockFragment: v.block.Bytes(), EndHeaders: true, EndStream: end})
}

// answer is the answer's fields, each in a line, then the frames of its body as
// "DATA n", with END behind the last one; RST if the stream was reset.
func (v *h2Visitor) answer() string {
	var b strings.Builder
	for {
		f, err := v.fr.ReadFrame()
		if err != nil {
			return b.String() + "<" + err.Error() + ">"
		}
		end := false
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				v.fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			slices.SortStableFunc(f.Fields, func(a, b hpack.HeaderField) int { return strings.Compare(a.Name, b.Name) })
			for _, h := range f.Fields {
				b.WriteString(h.Name + ": " + h.Value + "\n")
			}
			end = f.StreamEnded()
		case *http2.DataFrame:
			b.WriteString("DATA " + string(f.Data()) + "\n")
			end = f.StreamEnded()
		case *http2.RSTStreamFrame:
			b.WriteString("RST\n")
			v.stream += 2
			return b.String()
		case *http2.GoAwayFrame:
			return b.String() + "GOAWAY\n"
		}
		if end {
			b.WriteString("END\n")
			v.stream += 2
			return b.String()
		}
	}
}
