package inspect

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxBody is how much of a body is kept, in bytes: its beginning.
	maxBody = 256 << 10
	// maxHead is how much of the fields of a head is kept, in bytes.
	maxHead = 64 << 10
	// fieldCost and exchangeCost are what a field, and an exchange without any, take
	// beside their texts.
	fieldCost, exchangeCost = 64, 1 << 10
)

// An exchange is one request and its answer.
type exchange struct {
	id       uint64
	name     string // the public name
	method   string
	target   string // path and query, as the visitor has sent them
	proto    string
	host     string
	visitor  string // its address
	began    time.Time
	replayOf uint64 // the exchange that was repeated, or 0

	cost int64 // guarded by Inspector.mu, as gone
	gone bool  // it is not kept any more

	mu sync.Mutex
	content
}

// A content is what comes to be known of an exchange. Headers, and the bytes of bodies
// and messages that are there, do not change.
type content struct {
	empty           bool // what was kept is let go
	request, answer message
	status          int           // 0 before the head of the answer
	first, took     time.Duration // to the head of the answer, and to the end
	ended           bool
	broken          bool // it has ended in the middle
	switched        bool // to another protocol, as for a WebSocket

	frames   []frame // the newest, of both directions
	unframed int     // how many older ones were let go
	framed   int     // what frames cost
}

// A message is a request or an answer.
type message struct {
	header, trailer http.Header
	headCut         bool     // fields were left out
	body            []byte   // its beginning
	size            int64    // of all of it
	split           splitter // nil where the body has no messages
}

// cut reports whether the body was longer than what is kept.
func (m *message) cut() bool { return m.size > int64(len(m.body)) }

// A frame is one message in a body: a frame of a WebSocket, an event, or a message of
// gRPC.
type frame struct {
	at         time.Duration // since the request
	fromDevice bool          // to the visitor
	kind       string        // text, binary, ping …, the event's name, or message
	data       []byte        // its beginning
	size       int64
	compressed bool
	more       bool // of a WebSocket: the message goes on in another frame
	event      bool // data are lines of an event stream
}

const (
	// maxFrame is how much of a message in a body is kept, in bytes, and frameCost what
	// it takes beside that.
	maxFrame, frameCost = 16 << 10, 128
	// maxFrames bounds the messages of one exchange, in bytes; the oldest are let go.
	maxFrames = 512 << 10
)

// feed keeps the messages in a piece of a body, and returns what they cost more than
// those before. The caller has locked the exchange.
func (c *content) feed(split splitter, p []byte, now time.Duration, fromDevice bool) int {
	before := c.framed
	split.feed(p, func(f frame) {
		f.at, f.fromDevice, f.data = now, fromDevice, bytes.Clone(f.data)
		c.frames = append(c.frames, f)
		c.framed += f.cost()
		old := 0
		for ; c.framed > maxFrames; old++ {
			c.framed -= c.frames[old].cost()
		}
		clear(c.frames[:old])
		c.frames, c.unframed = c.frames[old:], c.unframed+old
	})
	return c.framed - before
}

func (f *frame) cost() int { return frameCost + len(f.data) + len(f.kind) }

// cut reports whether it was longer than what is kept.
func (f *frame) cut() bool { return f.size > int64(len(f.data)) }

func newExchange(name string, r *http.Request) *exchange {
	e := &exchange{name: name, method: r.Method, target: r.RequestURI, proto: r.Proto, host: r.Host, visitor: r.RemoteAddr, began: time.Now()}
	var n int
	e.request.header, e.request.headCut, n = copied(r.Header)
	e.cost = exchangeCost + int64(len(e.name)+len(e.method)+len(e.target)+len(e.host)+n)
	return e
}

// copied returns fields to keep, whether some are left out, and what they cost.
func copied(h http.Header) (kept http.Header, cut bool, cost int) {
	kept = make(http.Header, len(h))
	for name, values := range h {
		if len(values) == 0 { // it says that net/http is to add none
			continue
		}
		n := len(name)
		for _, v := range values {
			n += len(v) + fieldCost
		}
		if cost+n > maxHead {
			cut = true
			continue
		}
		cost += n
		kept[name] = slices.Clone(values)
	}
	return kept, cut, cost
}

// look returns what is known by now.
func (e *exchange) look() content {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.glanceLocked()
	c.frames = slices.Clone(e.frames)
	return c
}

// glance is look without messages.
func (e *exchange) glance() content {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.glanceLocked()
}

func (e *exchange) glanceLocked() content {
	c := e.content
	c.frames, c.request.split, c.answer.split = nil, nil, nil
	if !c.ended {
		c.took = time.Since(e.began)
	}
	return c
}

// path is the target without its query.
func (e *exchange) path() string {
	path, _, _ := strings.Cut(e.target, "?")
	return path
}

// is reports whether a message has a media type, which may end in a slash or a dot for
// all that begin with it.
func (m *message) is(kind string) bool {
	of := mediaType(m.header)
	return of == kind || (strings.HasSuffix(kind, "/") || strings.HasSuffix(kind, "+")) && strings.HasPrefix(of, kind)
}

// mediaType is that of Content-Type, without parameters and in lower case.
func mediaType(h http.Header) string {
	of, _, _ := strings.Cut(first(h, "Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(of))
}

// first is Get for fields in any spelling: those of a head may be spelt as they came.
func first(h http.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for n, values := range h {
		if strings.EqualFold(n, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}
