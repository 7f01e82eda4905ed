package publish

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"keystay/internal/hint"
	"keystay/internal/outage"
	"keystay/internal/page"
)

// failed answers a request that the local service has not answered.
func (s *service) failed(w http.ResponseWriter, r *http.Request, err error) {
	body, _ := r.Context().Value(bodyKey{}).(*visitorBody)
	if body != nil && body.malformed.Load() {
		body.x.refuseRest(malformed("Its body is not chunked as HTTP/1.1 asks."))
		return
	}
	if r.Context().Err() != nil || body != nil && body.failed.Load() { // the visitor has gone
		panic(http.ErrAbortHandler)
	}
	x := exchangeOf(r)
	x.answer = nil // if there was one, nobody gets it
	f := s.fault(err)
	if x.service != nil && !f.away {
		f = s.begun(x.service, f)
	}
	p := unreachable
	switch {
	case f.broken:
		p = brokenAnswer
	case f.late:
		p = late
	}
	tell, requests := s.outage(f).Failed(1) // before the visitor knows, who may come again
	p.Write(w, r)
	if tell {
		_ = http.NewResponseController(x.ResponseWriter).Flush() // what follows may take a moment
		s.explain(r.Context(), f, requests)
	}
}

// The pages say nothing about the inside: visitors need not know.
var (
	unreachable = page.Page{
		Status:     http.StatusBadGateway,
		Title:      "This service cannot be reached right now",
		Text:       "The device behind this name is connected, but the service on it does not answer.",
		Owner:      "If this is your device: the log of the remote has the reason, and what to do.",
		RetryAfter: 10 * time.Second,
	}
	late = page.Page{
		Status:     http.StatusGatewayTimeout,
		Title:      "This service takes too long",
		Text:       "The device behind this name is connected, but the service on it has not answered in time.",
		Owner:      "If this is your device: the log of the remote has the reason, and what to do.",
		RetryAfter: 10 * time.Second,
	}
	brokenAnswer = page.Page{
		Status: http.StatusBadGateway,
		Title:  "This service gave a broken answer",
		Text:   "The device behind this name is connected, and the service on it answers, but not with valid HTTP.",
		Owner:  "If this is your device: the log of the remote has the reason, and what to do.",
	}
)

// A heardBody hears of the end of an answer: of its trailers, and of one that comes in the
// middle. The visitor's connection is then cut, so that the answer does not look whole.
type heardBody struct {
	io.ReadCloser
	answer  *http.Response
	service *service
	conn    *answerConn     // nil over HTTP/2
	ctx     context.Context // the request's
}

// Read implements io.Reader.
func (b *heardBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		dropFraming(b.answer.Trailer)
	}
	if err != nil && err != io.EOF && b.ctx.Err() == nil {
		b.service.note(b.ctx, b.service.middle(err, b.conn))
	}
	return n, err
}

// note counts a request that has met a fault, and tells the log of it, unless it has told of
// it a short while ago.
func (s *service) note(ctx context.Context, f *fault) {
	if tell, requests := s.outage(f).Failed(1); tell {
		s.explain(ctx, f, requests)
	}
}

// outage returns what a fault counts for.
func (s *service) outage(f *fault) *outage.Outage {
	if f.away {
		return &s.silence
	}
	return s.faults.of(f.text)
}

// explain tells the log of a fault that so many requests have met, and looks into it before,
// if its cause is a guess.
func (s *service) explain(ctx context.Context, f *fault, requests int) {
	if f.guess {
		f = s.diagnose(context.WithoutCancel(ctx), f)
	}
	s.tell(f, requests)
}

// doubt looks what the service speaks that has answered a request with 400 and
// ended the connection: so do many that speak TLS there. Its answer is with the
// visitor already. A service that gives such answers for other reasons is
// looked at as seldom as the log tells of a fault.
func (s *service) doubt(x *exchange) {
	if res := x.answer; res == nil || res.StatusCode != http.StatusBadRequest || !res.Close || s.URL.Scheme != "http" {
		return
	}
	tell, requests := s.doubts.Failed(1)
	if !tell {
		return
	}
	_ = http.NewResponseController(x.ResponseWriter).Flush() // what follows may take a moment
	if f := s.diagnose(context.WithoutCancel(x.request.Context()), nil); f != nil {
		s.tell(f, requests)
	}
}

// tell logs a fault that so many requests have met.
func (t *Target) tell(f *fault, requests int) {
	what := "the local service does not answer"
	if f.broken {
		what = "the local service gives a broken answer"
	}
	t.log().Warn(what, "local", t.String(), "err", f.text, "requests", requests, hint.Attr(f.Hints()))
}

// answers notes that the service can be reached.
func (t *Target) answers() {
	if lasted, requests, told := t.silence.Ends(); told {
		t.log().Info("the local service answers again", "local", t.String(), "after", lasted.Round(time.Millisecond), "requests", requests)
	}
}

func (t *Target) log() *slog.Logger {
	if t.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Logger
}
