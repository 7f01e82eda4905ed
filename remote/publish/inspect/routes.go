package inspect

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", serveAsset)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.show(w, r, view{Title: "Inspector"}) })
	of := func(pattern string, f func(http.ResponseWriter, *http.Request, *exchange)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
			e := s.in.find(id)
			if e == nil {
				s.problem(w, r, http.StatusNotFound, "It is not kept any more", "Newer requests have taken its place, or everything was cleared.")
				return
			}
			f(w, r, e)
		})
	}
	of("GET /x/{id}", s.showExchange)
	of("GET /x/{id}/value", s.showValue)
	of("GET /x/{id}/curl", func(w http.ResponseWriter, r *http.Request, e *exchange) {
		c := e.look()
		write(w, "text/plain; charset=utf-8", http.StatusOK, []byte(curl(e, &c, withSecrets(r))))
	})
	of("GET /x/{id}/body/{side}", sendBody)
	of("GET /x/{id}/replay", s.showReplay)
	of("POST /x/{id}/replay", s.replay)
	mux.HandleFunc("GET /compare", s.compare)
	mux.HandleFunc("GET /har", s.sendHAR)
	mux.HandleFunc("POST /pause", func(w http.ResponseWriter, r *http.Request) { s.in.pause(true); s.back(w, r) })
	mux.HandleFunc("POST /resume", func(w http.ResponseWriter, r *http.Request) { s.in.pause(false); s.back(w, r) })
	mux.HandleFunc("POST /clear", func(w http.ResponseWriter, r *http.Request) { s.in.clear(); s.back(w, r) })
	mux.HandleFunc("GET /api/exchanges", s.apiList)
	of("GET /api/exchanges/{id}", apiExchange)
	of("POST /api/exchanges/{id}/replay", s.apiReplay)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusNotFound, "There is no such page", "")
	})
	return mux
}

// problem says what is wrong.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	s.show(w, r, view{Title: title, Name: "problem", Status: status, Data: text})
}

// back leads to the page again.
func (s *Server) back(w http.ResponseWriter, r *http.Request) {
	base := "/" + s.token + "/"
	if isPart(r) {
		w.Header().Set("HX-Redirect", base)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, base, http.StatusSeeOther)
}

// withSecrets reports whether values that are masked are asked for.
func withSecrets(r *http.Request) bool { return r.URL.Query().Get("secrets") == "1" }

const (
	// maxViewers is how many pages watch at once: each is a connection that stays.
	maxViewers = 16
	// watchTime is how long one of them is told. Then its browser asks again.
	watchTime = 10 * time.Minute
	// newsEvery is how often a page is told that there is something new, at most: each
	// time it looks at the list again.
	newsEvery = 400 * time.Millisecond
	// newsTimeout is how long a browser may take to read that.
	newsTimeout = 10 * time.Second
)

// events tells a browser that there is something new, as server-sent events. What is
// new it asks for then, so that one that reads slowly holds up nobody.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	defer s.viewers.Add(-1)
	if s.viewers.Add(1) > maxViewers {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many watch this page", http.StatusServiceUnavailable)
		return
	}
	news, stop := s.in.watch()
	defer stop()
	c := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	over := time.NewTimer(watchTime)
	defer over.Stop()
	for {
		_ = c.SetWriteDeadline(time.Now().Add(newsTimeout))
		if _, err := fmt.Fprintf(w, "event: news\ndata: %d\n\n", s.in.newest()); err != nil || c.Flush() != nil {
			return
		}
		select {
		case <-time.After(newsEvery):
		case <-r.Context().Done():
			return
		}
		select {
		case <-news:
		case <-over.C:
			return
		case <-r.Context().Done():
			return
		case <-s.closing.Done():
			return
		}
	}
}

// The JSON API: what scripts and other programs of this machine are told. Fields are
// added, never changed.
type (
	apiSummary struct {
		ID       uint64    `json:"id"`
		Name     string    `json:"name"`
		Method   string    `json:"method"`
		Target   string    `json:"target"`
		Protocol string    `json:"protocol"`
		Visitor  string    `json:"visitor"`
		Began    time.Time `json:"began"`
		Status   int       `json:"status,omitempty"` // none before the head of the answer
		First    float64   `json:"first_byte_ms"`
		Took     float64   `json:"took_ms"`
		Sent     int64     `json:"request_bytes"`
		Got      int64     `json:"answer_bytes"`
		State    string    `json:"state"` // running, done or broken
		Switched bool      `json:"switched,omitempty"`
		ReplayOf uint64    `json:"replay_of,omitempty"`
	}
	apiMessage struct {
		Header   http.Header `json:"header"`
		Trailer  http.Header `json:"trailer,omitempty"`
		Body     []byte      `json:"body,omitempty"`     // as it was sent, its beginning
		Readable string      `json:"readable,omitempty"` // decoded and laid out, where it is text
		Cut      bool        `json:"cut,omitempty"`
	}
	apiFrame struct {
		At         float64 `json:"at_ms"`
		FromDevice bool    `json:"from_device"`
		Kind       string  `json:"kind"`
		Size       int64   `json:"size"`
		Data       []byte  `json:"data"`
		Compressed bool    `json:"compressed,omitempty"`
	}
	apiFull struct {
		apiSummary
		Request  apiMessage `json:"request"`
		Answer   apiMessage `json:"answer"`
		Messages []apiFrame `json:"messages,omitempty"`
		LetGo    int        `json:"messages_let_go,omitempty"`
	}
	apiPage struct {
		Exchanges []apiSummary `json:"exchanges"` // the newest first
		Kept      int          `json:"kept"`
		LetGo     uint64       `json:"let_go"`
		Paused    bool         `json:"paused"`
		Packed    bool         `json:"packed,omitempty"` // of a search: some bodies were not decoded for it
	}
)

func summaryOf(e *exchange, c *content) apiSummary {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return apiSummary{e.id, e.name, e.method, e.target, e.proto, e.visitor, e.began, c.status, ms(c.first), ms(c.took), c.request.size, c.answer.size, c.state(), c.switched, e.replayOf}
}

func (c *content) state() string {
	switch {
	case c.broken:
		return "broken"
	case c.ended:
		return "done"
	}
	return "running"
}

func (s *Server) apiList(w http.ResponseWriter, r *http.Request) {
	f := s.found(r, maxRows)
	p := apiPage{Exchanges: []apiSummary{}, Kept: f.kept, LetGo: f.let, Paused: s.in.paused.Load(), Packed: f.packed}
	for _, x := range f.rows {
		p.Exchanges = append(p.Exchanges, summaryOf(x.exchange, &x.content))
	}
	sendJSON(w, http.StatusOK, p)
}

func apiExchange(w http.ResponseWriter, r *http.Request, e *exchange) {
	c, secrets := e.look(), withSecrets(r)
	message := func(m *message) apiMessage {
		return apiMessage{hidden(m.header, secrets), hidden(m.trailer, secrets), m.body, laidOut(m).plain(), m.cut()}
	}
	full := apiFull{apiSummary: summaryOf(e, &c), Request: message(&c.request), Answer: message(&c.answer), LetGo: c.unframed}
	for _, f := range inflated(&c, c.answer.header) {
		full.Messages = append(full.Messages, apiFrame{float64(f.at.Microseconds()) / 1000, f.fromDevice, f.kind, f.size, f.data, f.compressed})
	}
	sendJSON(w, http.StatusOK, full)
}

// plain is a body as one text, or "".
func (r readable) plain() string {
	if r.Kind == "JSON" || r.Kind == "text" {
		return r.Text
	}
	return ""
}

// apiReplay repeats a request as it was, or as the members of the body say, each of
// which is left as it was where it is missing.
func (s *Server) apiReplay(w http.ResponseWriter, r *http.Request, e *exchange) {
	ed, err := editOf(e)
	was := ed.Header.Clone()
	var asked struct {
		Method, Target *string
		Header         http.Header
		Body           *[]byte
	}
	if wrong := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxEdit)).Decode(&asked); wrong != nil && r.ContentLength != 0 {
		sendJSON(w, http.StatusBadRequest, map[string]string{"error": "the body is no JSON: " + wrong.Error()})
		return
	}
	if asked.Method != nil {
		ed.Method = *asked.Method
	}
	if asked.Target != nil {
		ed.Target = *asked.Target
	}
	if asked.Header != nil {
		ed.Header = asked.Header
		unmask(ed.Header, was)
	}
	if asked.Body != nil {
		ed.Body = *asked.Body
		if err == errBodyCut {
			err = nil
		}
	}
	var id uint64
	if err == nil {
		id, err = s.in.repeat(e, ed)
	}
	if err != nil {
		sendJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	sendJSON(w, http.StatusAccepted, map[string]uint64{"id": id})
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "this cannot be said in JSON", http.StatusInternalServerError)
		return
	}
	write(w, "application/json", status, append(b, '\n'))
}
