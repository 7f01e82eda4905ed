package pebble

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/wfe"
)

// An Order is a request for one that the CA received, refused ones included.
type Order struct {
	// Names are the identifiers asked for.
	Names []string
	// Replaces names a certificate (RFC 9773 section 5), or is empty.
	Replaces string
	// Refused says that a rate limit answered it.
	Refused bool
}

// Pebble's paths, which its directory tells its clients.
const (
	newOrderPath   = "/order-plz"
	newAccountPath = "/sign-me-up"
	noncePath      = "/nonce-plz"
)

// faults stands before Pebble's API, counts what comes in and lets it fail.
type faults struct {
	onOrder func(Order)
	noARI   bool

	mu       sync.Mutex
	next     http.Handler // Pebble
	orders   []Order
	accounts int
	down     bool
	delay    time.Duration
	refusal  *Refusal
	nonces   int    // percent of requests whose nonce is rejected
	moved    string // prefix of the directory's URLs, empty for none
	caa      string // the DNS server to ask for CAA records, empty for none
}

// A Refusal is how every order is answered.
type Refusal struct {
	Status     int
	Type       string        // without the namespace (RFC 8555 section 6.7)
	Detail     string        // for people
	Instance   string        // a URL, or empty
	RetryAfter time.Duration // whole seconds, 0 for none
}

// Orders returns every request for an order so far.
func (s *Server) Orders() []Order {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return append([]Order(nil), s.faults.orders...)
}

// Accounts returns how many requests for a new account came in.
func (s *Server) Accounts() int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.accounts
}

// SetDown makes the API cut every request, or not.
func (s *Server) SetDown(down bool) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.down = down
}

// SetDelay makes the API answer every request d later.
func (s *Server) SetDelay(d time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.delay = d
}

// SetRateLimit makes the API refuse every order as rate-limited, or not. The
// refusal asks to wait for retryAfter, whole seconds, unless that is 0.
func (s *Server) SetRateLimit(on bool, retryAfter time.Duration) {
	if !on {
		s.Refuse(nil)
		return
	}
	s.Refuse(&Refusal{Status: http.StatusTooManyRequests, Type: "rateLimited", Detail: "too many certificates", RetryAfter: retryAfter})
}

// Refuse makes the API answer every order with r, or, with nil, no more.
func (s *Server) Refuse(r *Refusal) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.refusal = r
}

// Move makes the directory name other URLs than before, as a CA does that is
// set up anew. The old ones answer 404.
func (s *Server) Move() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.moved += "/moved"
}

// SetNonceRejection makes the API reject the nonce of that many percent of
// requests, good as it is.
func (s *Server) SetNonceRejection(percent int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.nonces = percent
}

// maxBody is the largest request that is looked into, in bytes.
const maxBody = 1 << 20

// ServeHTTP implements http.Handler.
func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Method == http.MethodPost {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}

	f.mu.Lock()
	down, delay, refusal, moved, next, caa := f.down, f.delay, f.refusal, f.moved, f.next, f.caa
	badNonce := body != nil && rand.IntN(100) < f.nonces
	f.mu.Unlock()
	path, here := strings.CutPrefix(r.URL.Path, moved)
	if !here && (path == newOrderPath || path == newAccountPath || path == noncePath) {
		http.NotFound(w, r)
		return
	}
	r.URL.Path = path
	if caa != "" && refusal == nil && path == newOrderPath {
		refusal = forbidden(caa, body)
	}
	if !down && !badNonce {
		f.count(path, body, refusal != nil)
	}

	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case down:
		panic(http.ErrAbortHandler) // the client sees a broken connection
	case badNonce:
		f.problem(w, Refusal{Status: http.StatusBadRequest, Type: "badNonce", Detail: "rejected for the exercise"})
	case refusal != nil && path == newOrderPath:
		f.problem(w, *refusal)
	case (f.noARI || moved != "") && path == wfe.DirectoryPath:
		f.directory(w, r, moved)
	case body != nil:
		// Pebble asks to come back in whole seconds; clients are quicker
		// by themselves, and tests should be.
		next.ServeHTTP(&prompt{ResponseWriter: w}, r)
	default:
		next.ServeHTTP(w, r)
	}
}

// count notes a request that will be answered.
func (f *faults) count(path string, body []byte, limited bool) {
	switch path {
	case newOrderPath:
		o := parseOrder(body)
		o.Refused = limited
		f.mu.Lock()
		f.orders = append(f.orders, o)
		f.mu.Unlock()
		if f.onOrder != nil {
			f.onOrder(o)
		}
	case newAccountPath:
		f.mu.Lock()
		f.accounts++
		f.mu.Unlock()
	}
}

// problem answers with a problem document (RFC 8555 section 6.7), which must
// carry a nonce.
func (f *faults) problem(w http.ResponseWriter, r Refusal) {
	rec := &recorder{h: make(http.Header)}
	if req, err := http.NewRequest(http.MethodHead, noncePath, nil); err == nil {
		f.handler().ServeHTTP(rec, req)
	}
	w.Header().Set("Replay-Nonce", rec.h.Get("Replay-Nonce"))
	w.Header().Set("Content-Type", "application/problem+json")
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(r.RetryAfter/time.Second)))
	}
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "urn:ietf:params:acme:error:" + r.Type, "detail": r.Detail, "status": r.Status, "instance": r.Instance})
}

// directory answers with the directory (RFC 8555 section 7.1.1), its URLs moved
// and, where there is to be no advice, without that of renewal information.
func (f *faults) directory(w http.ResponseWriter, r *http.Request, moved string) {
	rec := &recorder{h: w.Header()}
	f.handler().ServeHTTP(rec, r)
	var dir map[string]any
	if err := json.Unmarshal(rec.body.Bytes(), &dir); err != nil {
		panic(http.ErrAbortHandler)
	}
	if f.noARI {
		delete(dir, "renewalInfo")
	}
	for key, path := range map[string]string{"newNonce": noncePath, "newAccount": newAccountPath, "newOrder": newOrderPath} {
		dir[key] = "https://" + r.Host + moved + path
	}
	_ = json.NewEncoder(w).Encode(dir)
}

// handler is Pebble's own API.
func (f *faults) handler() http.Handler {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// prompt drops Retry-After.
type prompt struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (p *prompt) WriteHeader(status int) {
	p.Header().Del("Retry-After")
	p.ResponseWriter.WriteHeader(status)
}

// recorder keeps a response.
type recorder struct {
	h    http.Header
	body bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.h }

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(int) {}

// parseOrder reads a newOrder request (RFC 8555 section 7.4) without checking
// its signature.
func parseOrder(body []byte) Order {
	var jws struct{ Payload string }
	var payload struct {
		Identifiers []struct{ Value string }
		Replaces    string
	}
	if json.Unmarshal(body, &jws) != nil {
		return Order{}
	}
	b, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil || json.Unmarshal(b, &payload) != nil {
		return Order{}
	}
	o := Order{Replaces: payload.Replaces}
	for _, id := range payload.Identifiers {
		o.Names = append(o.Names, id.Value)
	}
	return o
}
