package inspect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRows is how many exchanges one list has.
	maxRows = 200
	// maxSearched is how much work one search has with bodies that it decodes, as bytes that
	// are made. What visitors send small may stand for gigabytes.
	maxSearched = 64 << 20
	// maxOthers is how many exchanges one is offered to be compared with.
	maxOthers = 50
	// maxFramesShown is how many messages of one exchange a page has.
	maxFramesShown = 100
)

// A row is an exchange with what was known of it at one time.
type row struct {
	*exchange
	content
}

// A find is what a request has looked for.
type find struct {
	rows   []row // the newest first, without messages
	kept   int
	let    uint64 // how many were let go
	packed bool   // not all bodies were decoded for it
}

// found returns the newest exchanges that a request looks for, so many at most.
func (s *Server) found(r *http.Request, most int) find {
	q := queryOf(r.URL.Query().Get("q"))
	all, let := s.in.all()
	f := find{kept: len(all), let: let}
	left := maxSearched
	for _, e := range all {
		if len(f.rows) == most || r.Context().Err() != nil {
			break
		}
		c := e.glance()
		look := c
		if q.reads() {
			look.frames = e.look().frames
			for _, m := range []*message{&look.request, &look.answer} {
				if left <= 0 {
					f.packed = f.packed || len(m.body) > 0 && first(m.header, "Content-Encoding") != ""
				} else {
					p := decoded(m)
					if left -= p.work; p.Codings != "" {
						m.body = p.Bytes
					}
				}
				m.body = bytes.ToLower(m.body)
			}
		}
		if !c.empty && q.has(e, &look) {
			f.rows = append(f.rows, row{e, c})
		}
	}
	return f
}

// A list is what the page has beside one exchange.
type list struct {
	Rows   []summary
	Search string
	Kept   int
	LetGo  uint64
	More   bool
	Paused bool
	Names  bool // there is more than one
	Packed bool // not all bodies were decoded to be searched
}

// A summary is an exchange in one line.
type summary struct {
	ID                   uint64
	Name, Method, Target string
	Proto, Visitor       string
	Began                time.Time
	Status               int
	State                string // see content.state
	First, Took          time.Duration
	Sent, Got            int64
	Switched             bool
	ReplayOf             uint64
}

// Tone is how good an answer is, for its colour.
func (s summary) Tone() string {
	switch {
	case s.State == "broken" || s.Status >= 500:
		return "bad"
	case s.Status >= 400:
		return "warn"
	case s.Status >= 200 && s.Status < 300 || s.Status == 101:
		return "good"
	}
	return ""
}

// Said is the status in words.
func (s summary) Said() string { return http.StatusText(s.Status) }

func (x *row) summary() summary {
	return summary{x.id, x.name, x.method, x.target, x.proto, x.visitor, x.began, x.status, x.state(), x.first, x.took, x.request.size, x.answer.size, x.switched, x.replayOf}
}

func (s *Server) list(r *http.Request) list {
	f := s.found(r, maxRows)
	l := list{Search: r.URL.Query().Get("q"), Kept: f.kept, LetGo: f.let, More: len(f.rows) == maxRows, Paused: s.in.paused.Load(), Packed: f.packed}
	for _, x := range f.rows {
		l.Rows = append(l.Rows, x.summary())
		l.Names = l.Names || x.name != f.rows[0].name
	}
	return l
}

// An exchangeData is one exchange as the page shows it.
type exchangeData struct {
	summary
	Request, Answer messageData
	Messages        []frameData
	Older           int // messages that are not shown
	Empty           bool
	Others          []summary
	CanReplay       string // why it cannot be repeated as it was, or ""
}

// A messageData is a request or an answer as the page shows it.
type messageData struct {
	Side            string // in paths
	Fields, Trailer []field
	Body            readable
	Size            int64
	HeadCut, Has    bool
}

// A frameData is a message in a body as the page shows it.
type frameData struct {
	At         time.Duration
	FromDevice bool
	Kind       string
	Size       int64
	More       bool
	Body       readable
}

func (s *Server) showExchange(w http.ResponseWriter, r *http.Request, e *exchange) {
	s.show(w, r, view{Title: cut(120, e.method+" "+e.path()), Name: "exchange", ID: e.id, Data: s.exchangeData(e)})
}

func (s *Server) exchangeData(e *exchange) exchangeData {
	x := row{e, e.look()}
	d := exchangeData{summary: x.summary(), Empty: x.empty, Others: s.others(e)}
	d.Request, d.Answer = x.message(&x.request, "request"), x.message(&x.answer, "answer")
	frames := inflated(&x.content, x.answer.header)
	d.Older = x.unframed + max(0, len(frames)-maxFramesShown)
	for _, f := range slices.Backward(frames[max(0, len(frames)-maxFramesShown):]) {
		d.Messages = append(d.Messages, frameData{f.at, f.fromDevice, f.kind, f.size, f.more, f.readable()})
	}
	if _, err := editOf(e); err != nil {
		d.CanReplay = err.Error()
	}
	return d
}

func (x *row) message(m *message, side string) messageData {
	d := messageData{Side: side, Fields: fieldsOf(m.header), Trailer: fieldsOf(m.trailer), Size: m.size, HeadCut: m.headCut, Has: m.header != nil}
	if len(m.body) > 0 {
		d.Body = laidOut(m)
	}
	return d
}

// others are exchanges to compare one with: first those with its method and path.
func (s *Server) others(e *exchange) (list []summary) {
	all, _ := s.in.all()
	alike := func(o *exchange) bool { return o.method == e.method && o.name == e.name && o.path() == e.path() }
	slices.SortStableFunc(all, func(a, b *exchange) int {
		switch {
		case alike(a) && !alike(b):
			return -1
		case alike(b) && !alike(a):
			return 1
		}
		return 0
	})
	for _, o := range all {
		if len(list) == maxOthers {
			break
		}
		if o != e {
			x := row{o, o.glance()}
			list = append(list, x.summary())
		}
	}
	return list
}

// showValue answers with the value of one field, which was masked.
func (s *Server) showValue(w http.ResponseWriter, r *http.Request, e *exchange) {
	c, q := e.look(), r.URL.Query()
	h := c.request.header
	if q.Get("side") == "answer" {
		h = c.answer.header
	}
	at, err := strconv.Atoi(q.Get("at"))
	values := h[q.Get("name")]
	if err != nil || at < 0 || at >= len(values) {
		s.problem(w, r, http.StatusNotFound, "There is no such field", "")
		return
	}
	if !isPart(r) {
		write(w, "text/plain; charset=utf-8", http.StatusOK, []byte(values[at]+"\n"))
		return
	}
	var b strings.Builder
	if err := templates["exchange"].ExecuteTemplate(&b, "value", values[at]); err == nil {
		write(w, "text/html; charset=utf-8", http.StatusOK, []byte(b.String()))
	}
}

// sendBody answers with the bytes of a body that are kept, as a file.
func sendBody(w http.ResponseWriter, r *http.Request, e *exchange) {
	c := e.look()
	m, side := &c.request, "request"
	if r.PathValue("side") == "answer" {
		m, side = &c.answer, "answer"
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%d-%s.bin"`, e.id, side))
	b := m.body
	if p := decoded(m); p.Wrong == "" && r.URL.Query().Get("decoded") == "1" {
		b = p.Bytes
	}
	write(w, "application/octet-stream", http.StatusOK, b)
}

// sendHAR answers with exchanges as HAR: one of them, or those that are looked for.
func (s *Server) sendHAR(w http.ResponseWriter, r *http.Request) {
	rows := s.found(r, 1<<20).rows
	if id, err := strconv.ParseUint(r.URL.Query().Get("id"), 10, 64); err == nil {
		rows = slices.DeleteFunc(rows, func(x row) bool { return x.id != id })
	}
	slices.Reverse(rows)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="keystay.har"`)
	head, _ := json.Marshal(har{harLog{Version: "1.2", Creator: harCreator{"keystay", "1"}, Entries: []harEntry{}}})
	begin, end, _ := strings.Cut(string(head), "[]")
	fmt.Fprint(w, begin, "[")
	comma := ""
	for i := range rows {
		c := rows[i].look()
		b, err := json.Marshal(entryOf(rows[i].exchange, &c, withSecrets(r)))
		if err != nil || c.empty {
			continue
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(readTimeout))
		if _, err := fmt.Fprintf(w, "%s%s", comma, b); err != nil {
			return
		}
		comma = ",\n"
	}
	fmt.Fprint(w, "]", end, "\n")
}

// sentence is a message as a sentence of its own.
func sentence(s string) string {
	return cmp.Or(strings.ToUpper(s[:min(1, len(s))]), "") + s[min(1, len(s)):] + "."
}
