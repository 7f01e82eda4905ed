package publish

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"keystay/internal/hint"
	"keystay/internal/page"
	"keystay/internal/urlpath"
)

// Health is how a service is asked whether it can answer. While it cannot, requests
// for it get 503 with Retry-After, and it is not asked for them.
type Health struct {
	// Path is what is asked for with GET, as the service knows it. Any status from
	// 200 to 399 says that all is well. Empty means that the service is not asked.
	Path string

	// Every is the time between two checks, 1 s to 1 h; 0 means 10 s.
	Every time.Duration

	// Timeout is how long an answer may take; 0 means 5 s.
	Timeout time.Duration

	// Failures is how many checks in a row have to fail before the service counts
	// as down; 0 means 3. One that succeeds brings it back.
	Failures int
}

const (
	healthEvery    = 10 * time.Second
	healthTimeout  = 5 * time.Second
	healthFailures = 3
)

// check looks for mistakes.
func (h *Health) check() error {
	switch {
	case h.Path == "" && *h != Health{}:
		return errors.New("health: the path is missing")
	case h.Path != "" && (!strings.HasPrefix(h.Path, "/") || strings.ContainsFunc(h.Path, func(c rune) bool { return c <= ' ' || c == '#' || c == 0x7f })):
		return errors.New("health: the path is none")
	case h.Every != 0 && (h.Every < time.Second || h.Every > time.Hour):
		return errors.New("health: every is not from 1s to 1h")
	case h.Timeout < 0 || h.Failures < 0:
		return errors.New("health: a number is negative")
	}
	return nil
}

// A health is what the checks of a route say.
type health struct {
	Health
	route *route

	down   atomic.Bool
	failed int // checks in a row; watch alone looks at it
}

// newHealth returns the health of a route, as far as an earlier one of the same
// service has come.
func newHealth(r *route, earlier *health) *health {
	h := &health{Health: r.Health, route: r}
	if earlier != nil {
		h.down.Store(earlier.down.Load())
	}
	if h.Every == 0 {
		h.Every = healthEvery
	}
	if h.Timeout == 0 {
		h.Timeout = healthTimeout
	}
	if h.Failures == 0 {
		h.Failures = healthFailures
	}
	return h
}

// watch checks the service until ctx ends.
func (h *health) watch(ctx context.Context) {
	t := time.NewTicker(h.Every)
	defer t.Stop()
	for {
		err := h.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		h.took(ctx, err)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// took counts a check.
func (h *health) took(ctx context.Context, err error) {
	s := h.route.service
	var bad badStatus
	if err == nil {
		s.answers()
		h.failed = 0
		if h.down.Swap(false) {
			s.log().Info("the local service passes its health check again", "local", s.String(), "path", h.Path)
		}
		return
	}
	if !errors.As(err, &bad) && !errors.Is(err, context.DeadlineExceeded) {
		s.note(ctx, s.fault(err))
	}
	if h.failed++; h.failed < h.Failures || h.down.Swap(true) {
		return
	}
	s.log().Warn("the local service fails its health check: visitors get 503", "local", s.String(), "path", h.Path, "err", h.reason(err), hint.Attr(hint.ServiceUnwell.With("PATH", h.Path)))
}

// reason says why a check has failed.
func (h *health) reason(err error) string {
	var bad badStatus
	switch {
	case errors.As(err, &bad):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer after " + h.Timeout.String()
	}
	return h.route.service.fault(err).text
}

// A badStatus is that of an answer to a check that says that all is not well.
type badStatus int

// Error implements error.
func (b badStatus) Error() string { return "it answers with " + strconv.Itoa(int(b)) }

// maxHealthBody is how much of an answer to a check is read.
const maxHealthBody = 64 << 10

// ask is one check, over a connection of its own.
func (h *health) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	s := h.route.service
	path := urlpath.UntilAny(h.Path, "?")
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    s.outgoingURL(path, h.Path[len(path):]),
		Host:   s.serviceHost(s.domain),
		Header: http.Header{"User-Agent": {"keystay"}, "X-Forwarded-Host": {s.domain}, "X-Forwarded-Proto": {"https"}},
	}).WithContext(ctx)
	h.route.Request.apply(req.Header)
	tr := s.transport(transportKey{name: s.name.Load()}, least, s.dial)
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxHealthBody)
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return badStatus(res.StatusCode)
	}
	return nil
}

// page is for visitors while the service is down.
func (h *health) page() *page.Page {
	return &page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "This service is out of order right now",
		Text:       "The device behind this name is connected, but the service on it says that it cannot answer. It is asked again all the time.",
		Owner:      "If this is your device: the log of the remote has the reason.",
		RetryAfter: h.Every,
	}
}
