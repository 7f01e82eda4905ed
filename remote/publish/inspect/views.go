package inspect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRows is how many exchanges one list has.
	maxRows = 200
	// maxSearched is how much of bodies one search decodes, in bytes. What visitors send
	// small may stand for gigabytes.
	maxSearched = 64 << 20
	// maxEdit is how long an edited request may be, in bytes.
	maxEdit = 2 << 20
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
				} else if p := decoded(m); p.Codings != "" {
					m.body = p.Bytes
					left -= len(p.Bytes)
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

// A replayData is a request that is being edited.
type replayData struct {
	ID                         uint64
	Name, Method, Target, Head string
	Body                       string
	Binary                     bool // the body is no text, and is sent as it was unless Body is given
	Wrong, Note                string
}

func (s *Server) showReplay(w http.ResponseWriter, r *http.Request, e *exchange) {
	ed, err := editOf(e)
	if errors.Is(err, errSwitched) || errors.Is(err, errLetGo) {
		s.problem(w, r, http.StatusConflict, "This is not repeated", sentence(err.Error()))
		return
	}
	d := replayData{ID: e.id, Name: e.name, Method: ed.Method, Target: ed.Target, Head: headText(hidden(ed.Header, false))}
	if err != nil {
		d.Note = sentence(err.Error())
	}
	if d.Binary = !isText(ed.Body, false); !d.Binary {
		d.Body = string(ed.Body)
	}
	s.show(w, r, view{Title: "Replay " + cut(120, e.method+" "+e.path()), Name: "replay", ID: e.id, Data: d})
}

// replay repeats a request, as it was, or as a form has it.
func (s *Server) replay(w http.ResponseWriter, r *http.Request, e *exchange) {
	r.Body = http.MaxBytesReader(w, r.Body, maxEdit)
	if err := r.ParseForm(); err != nil {
		s.problem(w, r, http.StatusBadRequest, "This is not repeated", "The form is not well formed, or too long.")
		return
	}
	ed, err := editOf(e)
	d := replayData{ID: e.id, Name: e.name, Method: ed.Method, Target: ed.Target}
	edited := r.PostForm.Has("target")
	if edited && (err == nil || errors.Is(err, errBodyCut)) {
		d.Method, d.Target = strings.TrimSpace(r.PostForm.Get("method")), strings.TrimSpace(r.PostForm.Get("target"))
		d.Head, d.Body = r.PostForm.Get("head"), r.PostForm.Get("body")
		d.Binary = r.PostForm.Get("binary") == "1"
		was := ed.Header
		ed.Method, ed.Target = d.Method, d.Target
		ed.Header, err = headOf(d.Head)
		unmask(ed.Header, was)
		if !d.Binary || d.Body != "" {
			ed.Body = edBody(d.Body, ed.Body)
		}
	}
	var id uint64
	if err == nil {
		id, err = s.in.repeat(e, ed)
	}
	switch {
	case err != nil && edited:
		d.Wrong = sentence(err.Error())
		s.show(w, r, view{Title: "Replay", Name: "replay", ID: e.id, Status: http.StatusBadRequest, Data: d})
	case err != nil:
		s.problem(w, r, http.StatusConflict, "This is not repeated", sentence(err.Error()))
	default:
		to := "/" + s.token + "/x/" + strconv.FormatUint(id, 10)
		if isPart(r) {
			w.Header().Set("HX-Location", fmt.Sprintf(`{"path":%q,"target":"#detail","swap":"innerHTML"}`, to))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

// edBody is a body as a form has it. A browser makes CRLF of each line's end: a body
// that had none gets none.
func edBody(text string, was []byte) []byte {
	if !strings.Contains(string(was), "\r\n") {
		text = strings.ReplaceAll(text, "\r\n", "\n")
	}
	return []byte(text)
}

// headText is a head as a person edits it.
func headText(h http.Header) string {
	var b strings.Builder
	for _, f := range fieldsOf(h) {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String()
}

// headOf reads such a head.
func headOf(text string) (http.Header, error) {
	h := make(http.Header)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, errField
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		h[name] = append(h[name], strings.TrimSpace(value))
	}
	return h, nil
}

// A compareData is two exchanges side by side.
type compareData struct {
	First, Second               summary
	Lines                       []diffField // method, path and the like
	RequestFields, AnswerFields []diffField
	RequestBody, AnswerBody     []diffLine
	RequestWhole, AnswerWhole   bool
	RequestSame, AnswerSame     bool
}

func (s *Server) compare(w http.ResponseWriter, r *http.Request) {
	id := func(key string) *exchange {
		n, _ := strconv.ParseUint(r.URL.Query().Get(key), 10, 64)
		return s.in.find(n)
	}
	a, b := id("a"), id("b")
	if a == nil || b == nil {
		s.problem(w, r, http.StatusNotFound, "One of the two is not kept any more", "Newer requests have taken its place, or everything was cleared.")
		return
	}
	x, y := row{a, a.look()}, row{b, b.look()}
	d := compareData{First: x.summary(), Second: y.summary()}
	for _, l := range [][3]string{
		{"Name", a.name, b.name}, {"Method", a.method, b.method}, {"Path", a.target, b.target}, {"Protocol", a.proto, b.proto},
		{"Status", strconv.Itoa(x.status), strconv.Itoa(y.status)}, {"Took", took(x.took), took(y.took)},
		{"Request", amount(x.request.size), amount(y.request.size)}, {"Answer", amount(x.answer.size), amount(y.answer.size)},
	} {
		d.Lines = append(d.Lines, diffField{Name: l[0], First: l[1], Second: l[2], Same: l[1] == l[2]})
	}
	d.RequestFields = differFields(fieldsOf(x.request.header), fieldsOf(y.request.header))
	d.AnswerFields = differFields(fieldsOf(x.answer.header), fieldsOf(y.answer.header))
	d.RequestBody, d.RequestWhole, d.RequestSame = differBodies(&x.request, &y.request)
	d.AnswerBody, d.AnswerWhole, d.AnswerSame = differBodies(&x.answer, &y.answer)
	s.show(w, r, view{Title: fmt.Sprintf("%d and %d", a.id, b.id), Name: "compare", ID: a.id, Data: d})
}

func differBodies(a, b *message) (lines []diffLine, whole, same bool) {
	x, y := laidOut(a).all(), laidOut(b).all()
	lines, whole = differ(x, y)
	return lines, whole, x == y && a.size == b.size
}

// all is a body as one text.
func (r readable) all() string {
	if len(r.Pairs) == 0 {
		return r.Text
	}
	var b strings.Builder
	for _, p := range r.Pairs {
		fmt.Fprintf(&b, "%s = %s\n", p.Name, p.Value)
	}
	return b.String()
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
