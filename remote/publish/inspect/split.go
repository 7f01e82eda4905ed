package inspect

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// A splitter finds the messages in a body, as its pieces come.
type splitter interface {
	// feed takes the next piece, of any length. Data that it gives to out is its own no
	// more.
	feed(p []byte, out func(frame))
}

// A webSocket splits one direction of a WebSocket into frames (RFC 6455, section 5.2).
type webSocket struct {
	head []byte // of the frame, as far as it has come
	now  frame
	left uint64 // of the payload
	mask []byte // nil without one
	at   int    // in mask
}

func (s *webSocket) feed(p []byte, out func(frame)) {
	for len(p) > 0 {
		if s.left == 0 {
			s.head = append(s.head, p[0])
			p = p[1:]
			if !s.begun() {
				continue
			}
			if s.left > 0 {
				continue
			}
		}
		n := min(uint64(len(p)), s.left)
		s.take(p[:n])
		p, s.left = p[n:], s.left-n
		if s.left == 0 {
			out(s.now)
			s.now, s.head = frame{}, s.head[:0]
		}
	}
}

// begun reports whether the head of a frame is complete, and reads it then.
func (s *webSocket) begun() bool {
	h := s.head
	if len(h) < 2 {
		return false
	}
	need, length := 2, uint64(h[1]&0x7f)
	switch length {
	case 126:
		need += 2
	case 127:
		need += 8
	}
	at := need
	if h[1]&0x80 != 0 {
		need += 4
	}
	if len(h) < need {
		return false
	}
	switch at {
	case 4:
		length = uint64(binary.BigEndian.Uint16(h[2:]))
	case 10:
		length = binary.BigEndian.Uint64(h[2:])
	}
	s.mask, s.at = nil, 0
	if h[1]&0x80 != 0 {
		s.mask = append(s.mask, h[at:]...)
	}
	s.left = length
	s.now = frame{kind: opcode(h[0] & 0x0f), size: int64(min(length, 1<<62)), compressed: h[0]&0x40 != 0, more: h[0]&0x80 == 0}
	return true
}

// take keeps a piece of the payload, without its mask.
func (s *webSocket) take(p []byte) {
	if n := min(len(p), maxFrame-len(s.now.data)); n > 0 {
		from := len(s.now.data)
		s.now.data = append(s.now.data, p[:n]...)
		if s.mask != nil {
			for i := from; i < len(s.now.data); i++ {
				s.now.data[i] ^= s.mask[(s.at+i-from)&3]
			}
		}
	}
	s.at = (s.at + len(p)) & 3
}

func opcode(n byte) string {
	switch n {
	case 0:
		return "continued"
	case 1:
		return "text"
	case 2:
		return "binary"
	case 8:
		return "close"
	case 9:
		return "ping"
	case 10:
		return "pong"
	}
	return "reserved"
}

// An eventStream splits server-sent events (HTML, section 9.2).
type eventStream struct {
	event []byte // the lines so far, of maxFrame bytes at most
	size  int64
	line  int  // bytes of the line that has not ended
	cr    bool // the last byte was a carriage return
}

func (s *eventStream) feed(p []byte, out func(frame)) {
	for _, c := range p {
		if c == '\n' && s.cr { // the end of the same line
			s.cr = false
			continue
		}
		s.cr = c == '\r'
		if s.cr {
			c = '\n'
		}
		if c != '\n' {
			s.line++
			s.keep(c)
			continue
		}
		if s.line > 0 {
			s.line = 0
			s.keep(c)
			continue
		}
		if s.size > 0 {
			out(s.take())
		}
	}
}

func (s *eventStream) keep(c byte) {
	s.size++
	if len(s.event) < maxFrame {
		s.event = append(s.event, c)
	}
}

// take returns the event whose lines have come.
func (s *eventStream) take() frame {
	f := frame{kind: "comment", event: true, size: s.size, data: bytes.TrimSuffix(s.event, []byte("\n"))}
	f.size -= int64(len(s.event) - len(f.data))
	for line := range strings.Lines(string(f.data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch {
		case name == "event":
			f.kind = strings.Clone(strings.TrimPrefix(value, " "))
		case name != "" && f.kind == "comment":
			f.kind = "message"
		}
	}
	if len(f.kind) > 64 {
		f.kind = f.kind[:64]
	}
	s.event, s.size = nil, 0
	return f
}

// A grpcMessages splits the length-prefixed messages of gRPC, and of gRPC-Web.
type grpcMessages struct {
	head []byte
	now  frame
	left uint32
}

func (s *grpcMessages) feed(p []byte, out func(frame)) {
	for len(p) > 0 {
		if s.left == 0 {
			n := min(5-len(s.head), len(p))
			s.head = append(s.head, p[:n]...)
			p = p[n:]
			if len(s.head) < 5 {
				return
			}
			s.left = binary.BigEndian.Uint32(s.head[1:])
			s.now = frame{kind: "message", size: int64(s.left), compressed: s.head[0]&1 != 0}
			if s.head[0]&0x80 != 0 {
				s.now.kind = "trailers"
			}
		}
		n := min(uint32(min(len(p), 1<<30)), s.left)
		if room := maxFrame - len(s.now.data); room > 0 {
			s.now.data = append(s.now.data, p[:min(int(n), room)]...)
		}
		p, s.left = p[n:], s.left-n
		if s.left == 0 {
			out(s.now)
			s.now, s.head = frame{}, s.head[:0]
		}
	}
}
