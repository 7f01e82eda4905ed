package inspect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxReplays is how many replays run at once.
	maxReplays = 8
	// replayTime is how long one of them may take.
	replayTime = 5 * time.Minute
)

// ReplayField is the field that tells a service that a request is a replay, with the
// number of the exchange that is repeated. Visitors cannot send it.
const ReplayField = "X-Keystay-Replay"

// A replay is a request to be sent once more.
type replay struct {
	of    uint64
	begun chan uint64 // gets the id of the new exchange; has room for it
}

// replays are those that run.
type replays struct {
	mu   sync.Mutex
	wg   sync.WaitGroup
	over bool
	ends map[*replay]context.CancelFunc
}

// An edit is a request as it is to be repeated.
type edit struct {
	Method string      `json:"method"`
	Target string      `json:"target"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

var (
	errSwitched = errors.New("a request that switches protocols, as for a WebSocket, is not repeated")
	errBodyCut  = errors.New("the body was longer than what is kept: give one to send")
	errNoSite   = errors.New("this remote does not serve the name any more")
	errReplays  = errors.New("too many replays are under way")
	errMethod   = errors.New("the method is no word as GET or POST")
	errTarget   = errors.New("the path does not begin with a slash, or has spaces or control characters in it")
	errField    = errors.New("a field of the head is not well formed")
	errLetGo    = errors.New("it is not kept any more")
)

// ownFields are those of a head that are made anew for a replay.
var ownFields = []string{"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Te", "Trailer", "Expect", "Host", ReplayField}

// editOf is a request as it was. An error says why it cannot be repeated as it was.
func editOf(e *exchange) (edit, error) {
	c := e.look()
	ed := edit{Method: e.method, Target: e.target, Header: c.request.header.Clone(), Body: c.request.body}
	for name := range ed.Header {
		for _, own := range ownFields {
			if strings.EqualFold(name, own) {
				delete(ed.Header, name)
			}
		}
	}
	switch {
	case c.empty:
		return ed, errLetGo
	case c.switched:
		return ed, errSwitched
	case c.request.cut():
		ed.Body = nil
		return ed, errBodyCut
	}
	return ed, nil
}

// check looks for mistakes in what a person has edited.
func (ed *edit) check() error {
	u, err := url.ParseRequestURI(ed.Target)
	switch {
	case !httpguts.ValidHeaderFieldName(ed.Method):
		return errMethod
	case err != nil || !strings.HasPrefix(ed.Target, "/") || u.Host != "" && !strings.HasPrefix(ed.Target, "//") || strings.ContainsAny(ed.Target, " #\t"):
		return errTarget
	}
	for name, values := range ed.Header {
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				return errField
			}
		}
	}
	return nil
}

// repeat sends a request once more, to the service of the same name, and returns the id
// of the new exchange as soon as it is there. No edit leads it anywhere else: the name is
// that of the exchange, and its site looks at the path as at a visitor's.
func (in *Inspector) repeat(e *exchange, ed edit) (id uint64, err error) {
	if err := ed.check(); err != nil {
		return 0, err
	}
	in.mu.Lock()
	s := in.sites[e.name]
	in.mu.Unlock()
	if s == nil {
		return 0, errNoSite
	}
	again := &replay{of: e.id, begun: make(chan uint64, 1)}
	ctx, cancel := context.WithTimeout(replayed(context.Background(), again), replayTime)
	r := ed.request(ctx, e)
	done := make(chan struct{})
	if !in.replays.start(again, cancel, func() {
		defer close(done)
		serveAgain(s.again, r)
	}) {
		cancel()
		return 0, errReplays
	}
	select {
	case id = <-again.begun:
	case <-done:
		select {
		case id = <-again.begun:
		default: // it was refused before it came to be kept
			return 0, errTarget
		}
	}
	return id, nil
}

// request makes the request that the site gets.
func (ed *edit) request(ctx context.Context, e *exchange) *http.Request {
	u, _ := url.ParseRequestURI(ed.Target) // it is checked
	h := ed.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	for name := range h {
		for _, own := range ownFields {
			if strings.EqualFold(name, own) {
				delete(h, name)
			}
		}
	}
	h.Set(ReplayField, strconv.FormatUint(e.id, 10))
	r := &http.Request{Method: ed.Method, URL: u, RequestURI: ed.Target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Host: e.host, RemoteAddr: e.visitor, Body: http.NoBody, ContentLength: int64(len(ed.Body))}
	if len(ed.Body) > 0 || ed.Method != http.MethodGet && ed.Method != http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(ed.Body)))
	}
	if len(ed.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(ed.Body))
	}
	return r.WithContext(ctx)
}

// serveAgain serves a replay, whose answer goes nowhere but to the inspector.
func serveAgain(h http.Handler, r *http.Request) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			panic(v)
		}
	}()
	h.ServeHTTP(&nowhere{header: make(http.Header)}, r)
}

// A nowhere is a ResponseWriter that drops what is written.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// FlushError does nothing: there is nothing to wait for.
func (n *nowhere) FlushError() error { return nil }

// start runs f, if there is a place, and cancel behind it, or at close.
func (rs *replays) start(again *replay, cancel context.CancelFunc, f func()) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.over || len(rs.ends) == maxReplays {
		return false
	}
	if rs.ends == nil {
		rs.ends = make(map[*replay]context.CancelFunc)
	}
	rs.ends[again] = cancel
	rs.wg.Go(func() {
		defer func() {
			cancel()
			rs.mu.Lock()
			delete(rs.ends, again)
			rs.mu.Unlock()
		}()
		f()
	})
	return true
}

// close ends all of them, and waits for that.
func (rs *replays) close() {
	rs.mu.Lock()
	rs.over = true
	for _, cancel := range rs.ends {
		cancel()
	}
	rs.mu.Unlock()
	rs.wg.Wait()
}
