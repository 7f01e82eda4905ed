package inspect

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"keystay/internal/memconn"
)

// wsFrame makes a frame of a WebSocket.
func wsFrame(first byte, mask, payload []byte) []byte {
	b := []byte{first}
	second := byte(0)
	if mask != nil {
		second = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, second|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, second|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, second|127), uint64(n))
	}
	b = append(b, mask...)
	for i, c := range payload {
		if mask != nil {
			c ^= mask[i&3]
		}
		b = append(b, c)
	}
	return b
}

// fed is what a splitter finds in pieces of a size.
func fed(s splitter, p []byte, piece int) (list []frame) {
	for len(p) > 0 {
		n := min(piece, len(p))
		s.feed(bytes.Clone(p[:n]), func(f frame) { f.data = bytes.Clone(f.data); list = append(list, f) })
		p = p[n:]
	}
	return list
}

func text(list []frame) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "%s %d %q", f.kind, f.size, f.data[:min(len(f.data), 40)])
		if f.compressed {
			b.WriteString(" compressed")
		}
		if f.more {
			b.WriteString(" more")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Frames of WebSockets are found wherever the pieces of the connection end.
func TestFramesOfWebSockets(t *testing.T) {
	mask := []byte{1, 2, 3, 4}
	long := bytes.Repeat([]byte("0123456789"), maxFrame/5) // twice what is kept
	stream := bytes.Join([][]byte{
		wsFrame(0x81, mask, []byte("hello")), wsFrame(0x01, nil, []byte("be")), wsFrame(0x80, nil, []byte("gun")), wsFrame(0x89, mask, nil),
		wsFrame(0x82, mask, long), wsFrame(0xc1, nil, []byte{1}), wsFrame(0x88, mask, []byte("\x03\xe8bye")), wsFrame(0x82, nil, bytes.Repeat([]byte{7}, 1<<16)),
	}, nil)
	want := "text 5 \"hello\"\ntext 2 \"be\" more\ncontinued 3 \"gun\"\nping 0 \"\"\nbinary 32760 \"0123456789012345678901234567890123456789\"\n" +
		"text 1 \"\\x01\" compressed\nclose 5 \"\\x03\\xe8bye\"\nbinary 65536 \"" + strings.Repeat(`\a`, 40) + "\"\n"
	for _, piece := range []int{1, 7, len(stream)} {
		got := fed(new(webSocket), stream, piece)
		if text(got) != want {
			t.Fatalf("in pieces of %d:\n%s", piece, text(got))
		}
		if !bytes.Equal(got[4].data, long[:maxFrame]) || !got[4].cut() {
			t.Errorf("in pieces of %d the mask is off", piece)
		}
	}
	if r := (&frame{kind: "price", event: true, data: []byte("event: price\nid: 7\ndata: {\"a\":\ndata: 1}"), size: 39}).readable(); r.Text != "{\n  \"a\": 1\n}" || r.Note != "id: 7" {
		t.Errorf("%+v", r)
	}
	if r := (&frame{kind: "close", data: []byte("\x03\xe8bye"), size: 5}).readable(); r.Text != "1000 bye" {
		t.Error(r)
	}
}

// Events are found wherever the pieces end, with any ends of lines.
func TestEventsOfStreams(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		stream := []byte(strings.ReplaceAll(": hello\n\ndata: one\n\n\nevent: price\ndata: {\ndata: }\nid: 7\n\ndata:\n\nnot ended", "\n", end))
		want := "comment 7 \": hello\"\nmessage 9 \"data: one\"\nprice 34 \"event: price\\ndata: {\\ndata: }\\nid: 7\"\nmessage 5 \"data:\"\n"
		for _, piece := range []int{1, 2, 5, len(stream)} {
			if got := text(fed(new(eventStream), stream, piece)); got != want {
				t.Errorf("%q in pieces of %d:\n%s", end, piece, got)
			}
		}
	}
}

// Messages of gRPC are found by their lengths.
func TestMessagesOfGRPC(t *testing.T) {
	stream := []byte("\x00\x00\x00\x00\x03abc\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01z\x80\x00\x00\x00\x0dgrpc-status:0")
	want := "message 3 \"abc\"\nmessage 0 \"\"\nmessage 1 \"z\" compressed\ntrailers 13 \"grpc-status:0\"\n"
	for _, piece := range []int{1, 2, 6, len(stream)} {
		if got := text(fed(new(grpcMessages), stream, piece)); got != want {
			t.Errorf("in pieces of %d:\n%s", piece, got)
		}
	}
}

// Whatever comes: the same is found however it is cut, and no more is kept than may be.
func FuzzSplitters(f *testing.F) {
	f.Add([]byte("data: a\n\nevent: b\r\n\r\n"), 3)
	f.Add(wsFrame(0x81, []byte{1, 2, 3, 4}, []byte("hello")), 1)
	f.Add([]byte("\x00\x00\x00\x00\x03abc\xff\xff\xff\xff\xff"), 2)
	f.Add([]byte("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), 1)
	f.Fuzz(func(t *testing.T, p []byte, piece int) {
		piece = 1 + max(0, piece)%64
		for _, s := range []func() splitter{
			func() splitter { return new(webSocket) }, func() splitter { return new(eventStream) }, func() splitter { return new(grpcMessages) },
		} {
			whole, parts := fed(s(), p, max(1, len(p))), fed(s(), p, piece)
			if text(whole) != text(parts) {
				t.Fatalf("%T: %s\n%s", s(), text(whole), text(parts))
			}
			for _, f := range whole {
				if len(f.data) > maxFrame || len(f.kind) > 64 || f.size < int64(len(f.data)) || len(f.data) > len(p) {
					t.Fatalf("%T: %d bytes of %d", s(), len(f.data), f.size)
				}
				_ = f.readable()
			}
		}
	})
}

// permessage-deflate goes on from one message to the next; without what it leans on a
// message stays as it is.
func TestCompressedMessagesAreRead(t *testing.T) {
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, 9)
	var c content
	c.switched = true
	texts := []string{"hello hello hello hello", "hello hello hello hello again", "hello again, hello"}
	for _, s := range texts {
		out.Reset()
		_, _ = z.Write([]byte(s))
		_ = z.Flush()
		b := bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
		c.frames = append(c.frames, frame{kind: "text", data: bytes.Clone(b), size: int64(len(b)), compressed: true, fromDevice: true}, frame{kind: "text", data: []byte("plain"), size: 5})
	}
	list := inflated(&c, nil)
	for i, want := range texts {
		if f := list[2*i]; string(f.data) != want || f.compressed || f.size != int64(len(want)) {
			t.Errorf("%q", f.data)
		}
		if string(list[2*i+1].data) != "plain" {
			t.Error("the other direction has changed")
		}
	}
	c.frames, c.unframed = c.frames[2:], 2
	if list = inflated(&c, nil); !list[0].compressed || !strings.Contains(list[0].readable().Note, "not kept") {
		t.Errorf("%q", list[0].data)
	}
	grpc := content{frames: []frame{{data: gzipped([]byte("message")), compressed: true}}}
	grpc.frames[0].size = int64(len(grpc.frames[0].data))
	if list = inflated(&grpc, http.Header{"Grpc-Encoding": {"gzip"}}); string(list[0].data) != "message" {
		t.Errorf("%q", list[0].data)
	}
}

// Of the messages of one exchange the newest are kept, and the budget counts them.
func TestTheNewestMessagesAreKept(t *testing.T) {
	const n = 3 * maxFrames / 1024
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range n {
			fmt.Fprintf(w, "data: %d %s\n\n", i, strings.Repeat("x", 1000))
		}
	})
	r.visit("GET", "/", "")
	x := r.newest()
	last := x.frames[len(x.frames)-1]
	if x.framed > maxFrames || x.unframed+len(x.frames) != n || len(x.frames) < 300 || !strings.HasPrefix(string(last.data), fmt.Sprintf("data: %d ", n-1)) {
		t.Errorf("%d messages of %d bytes, %d let go", len(x.frames), x.framed, x.unframed)
	}
	r.within(DefaultMemory)
	if page := r.get("/x/1"); !strings.Contains(page, fmt.Sprintf("%d older ones are not shown.", n-maxFramesShown)) {
		t.Error("the page does not say so")
	}
}

// A connection that has switched passes both ways, with its ends, and its frames are kept.
func TestSwitchedConnectionsPassUnharmed(t *testing.T) {
	visitor, device := memconn.Pipe(1 << 10)
	defer visitor.Close()
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		c := w.(interface {
			Switched(net.Conn, http.Header) net.Conn
		}).Switched(device, http.Header{"Upgrade": {"websocket"}})
		defer c.Close()
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil || n != 11 {
			t.Error(n, err)
		}
		if _, err := c.Write(wsFrame(0x81, nil, []byte("answer"))); err != nil {
			t.Error(err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(buf); n != 0 || err == nil {
			t.Error(n, err)
		}
	})
	done := make(chan bool)
	go func() { defer close(done); r.visit("GET", "/", "") }()
	if _, err := visitor.Write(wsFrame(0x81, []byte{9, 8, 7, 6}, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := visitor.Read(buf); err != nil || string(buf[2:n]) != "answer" {
		t.Error(n, err)
	}
	if n, err := visitor.Read(buf); n != 0 || err == nil {
		t.Error("the end does not come:", n, err)
	}
	visitor.Close()
	<-done
	if x := r.newest(); text(x.frames) != "text 5 \"hello\"\ntext 6 \"answer\"\n" || x.frames[0].fromDevice || !x.frames[1].fromDevice || x.status != 101 || !x.switched || len(x.request.body) != 0 {
		t.Errorf("%s %+v", text(x.frames), x.content)
	}
	if _, w := r.replayed("/api/exchanges/1/replay", ""); w.Code != http.StatusBadRequest {
		t.Error(w.Code)
	}
}
