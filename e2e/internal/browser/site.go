package browser

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultLimit is the time that the page gives each of its checks when
	// Site.Limit is zero.
	DefaultLimit = time.Minute

	// DefaultUpload and DefaultDownload are what the page uploads and
	// downloads when the fields of Site are zero, in bytes.
	DefaultUpload   = 4 << 20
	DefaultDownload = 16 << 20

	// eventCount is how many events the stream has.
	eventCount = 8

	// messageSize is what the page sends over its WebSocket as one binary
	// message, in bytes; messageLimit is the most that the service takes.
	messageSize  = 128 << 10
	messageLimit = 256 << 10

	// uploadLimit and reportLimit bound what the service reads, in bytes.
	uploadLimit = 64 << 20
	reportLimit = 64 << 10

	// runLimit is how often one Site serves its page.
	runLimit = 64

	// requestLimit is how many requests one Site remembers: the first ones.
	requestLimit = 1024

	// stepLimit bounds each wait of the service for the page: for the
	// confirmation of an event, and on an open WebSocket.
	stepLimit = 70 * time.Second

	// gateLimit bounds how long the load event of the page is held back.
	gateLimit = 2 * time.Minute
)

//go:embed page.html
var pageSource string

// A Site is a local service with one page, which tries in the browser
// what keystay has to carry: requests, an event stream that nothing may hold
// back, a WebSocket, an upload and a download, both compared by their hash.
// The page shows what came of it and posts it back.
//
// It speaks plain HTTP/1.1 when it stands behind a remote, and expects to be
// asked for by the Host that the browser asked for: the WebSocket refuses an
// Origin that does not match. The zero Site is ready to use; it must not be
// copied.
type Site struct {
	// Limit is the time that the page gives each check. Zero: DefaultLimit.
	Limit time.Duration

	// UploadSize and DownloadSize are in bytes; UploadSize is at most 64
	// MiB. Zero: DefaultUpload and DefaultDownload.
	UploadSize, DownloadSize int

	once    sync.Once
	handler http.Handler
	reports chan Report

	mu       sync.Mutex
	runs     map[string]*run // by id, one for each time the page was served
	requests []Request
}

// A run is one visit of the page.
type run struct {
	seen     chan int      // the number of the event that the page confirms
	reported chan struct{} // closed when its report is in
	report   sync.Once
}

// A Report is what the page found out.
type Report struct {
	UserAgent string  `json:"-"`        // of the request that brought it
	Protocol  string  `json:"protocol"` // the page's nextHopProtocol: "h2", "http/1.1"
	Checks    []Check `json:"checks"`
}

// A Check is one row of the page's table.
type Check struct {
	Name   string  `json:"name"` // page, events, websocket, upload or download
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"` // for people
	MS     float64 `json:"ms"`     // how long it took, in milliseconds
}

// CheckNames lists what the page checks, in the order of its table.
func CheckNames() []string {
	return []string{"page", "events", "websocket", "upload", "download"}
}

// Err returns nil if every check is there and went well, otherwise an error
// that names each that did not.
func (r Report) Err() error {
	var failed string
	for _, name := range CheckNames() {
		i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
		switch {
		case i < 0:
			failed += "; " + name + ": not in the report"
		case !r.Checks[i].OK:
			failed += "; " + name + ": " + r.Checks[i].Detail
		}
	}
	if failed != "" {
		return fmt.Errorf("checks failed%s", failed)
	}
	return nil
}

// A Request is what the service saw of one request.
type Request struct {
	Method, Path, Proto, Host, RemoteAddr string

	Header http.Header
}

// Reports returns the channel on which the report of each visit arrives. It
// never blocks the service and is never closed. As the page's load event
// comes only after its report, a report is there already when
// [Browser.Screenshot] has returned, or else there will be none.
func (s *Site) Reports() <-chan Report {
	s.once.Do(s.init)
	return s.reports
}

// Requests returns the requests so far, oldest first, at most 1024.
func (s *Site) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP serves the page and what it asks for.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(s.init)
	s.mu.Lock()
	if len(s.requests) < requestLimit {
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.Proto, r.Host, r.RemoteAddr, r.Header.Clone()})
	}
	s.mu.Unlock()
	s.handler.ServeHTTP(w, r)
}

func (s *Site) init() {
	s.runs = make(map[string]*run)
	s.reports = make(chan Report, runLimit) // one for each run: sending never waits
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /hello", serveHello)
	mux.HandleFunc("GET /events", s.withRun(serveEvents))
	mux.HandleFunc("POST /seen", s.withRun(serveSeen))
	mux.HandleFunc("GET /ws", serveEcho)
	mux.HandleFunc("POST /upload", serveUpload)
	mux.HandleFunc("GET /download", s.serveDownload)
	mux.HandleFunc("GET /gate", s.withRun(serveGate))
	mux.HandleFunc("POST /report", s.withRun(s.serveReport))
	s.handler = mux
}

// servePage starts a run.
func (s *Site) servePage(w http.ResponseWriter, r *http.Request) {
	id := rand.Text()
	s.mu.Lock()
	full := len(s.runs) >= runLimit
	if !full {
		s.runs[id] = &run{seen: make(chan int), reported: make(chan struct{})}
	}
	s.mu.Unlock()
	if full {
		http.Error(w, "this page was served too often", http.StatusServiceUnavailable)
		return
	}
	page, err := template.New("page").Parse(pageSource)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	page.Execute(w, map[string]any{
		"Run":         id,
		"LimitMS":     cmp.Or(s.Limit, DefaultLimit).Milliseconds(),
		"UploadSize":  cmp.Or(s.UploadSize, DefaultUpload),
		"Events":      eventCount,
		"MessageSize": messageSize,
	})
}

// withRun finds the run that a request names.
func (s *Site) withRun(serve func(http.ResponseWriter, *http.Request, *run)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		visit := s.runs[r.URL.Query().Get("run")]
		s.mu.Unlock()
		if visit == nil {
			http.Error(w, "no such run", http.StatusNotFound)
			return
		}
		serve(w, r, visit)
	}
}

// serveReport takes the first report of a run.
func (s *Site) serveReport(w http.ResponseWriter, r *http.Request, visit *run) {
	var report Report
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, reportLimit)).Decode(&report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	report.UserAgent = r.UserAgent()
	visit.report.Do(func() {
		s.reports <- report
		close(visit.reported)
	})
	w.WriteHeader(http.StatusNoContent)
}
