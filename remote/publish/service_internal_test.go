package publish

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// answersAfter asks a service over a transport of s, or over a keptConn, that thinks for
// so long before the head of its answer, and again before its body.
func answersAfter(t *testing.T, s *service, kept bool, thinks time.Duration) (status int, took time.Duration, err error) {
	t.Helper()
	dial := func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
				t.Error(err)
			}
			<-time.After(thinks)
			io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
			<-time.After(thinks)
			io.WriteString(far, "ok")
		}()
		return near, nil
	}
	tr := s.transport(transportKey{}, small, dial)
	defer tr.CloseIdleConnections()
	send := tr.RoundTrip
	if kept {
		p := keptPool(s)
		defer p.close()
		send = func(r *http.Request) (*http.Response, error) {
			p.turns <- struct{}{}
			c, _ := dial(t.Context())
			return newKeptConn(p, c).roundTrip(r)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	res, err := send(req)
	if err != nil {
		return 0, time.Since(began), err
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); string(text) != "ok" {
		t.Errorf("the body is %q, %v", text, err)
	}
	return res.StatusCode, time.Since(began), nil
}

// A service that has taken a request may think as long as its visitor waits: a
// long poll and a service that hangs look the same.
func TestNoLimitBeforeAnAnswerBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const thinks = 24 * time.Hour
		s := newService(serviceKey{Target: &Target{URL: &url.URL{Scheme: "http", Host: "localhost"}}}, "xyz.relay.test")
		for _, kept := range []bool{false, true} {
			if status, took, err := answersAfter(t, s, kept, thinks); status != http.StatusOK || took != 2*thinks {
				t.Errorf("kept %v: status %d after %v: %v", kept, status, took, err)
			}
		}
	})
}

// With a limit for its answer, it is the head of it that has to come in time.
func TestLimitBeforeAnAnswerBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 30 * time.Second
		s := newService(serviceKey{Target: &Target{URL: &url.URL{Scheme: "http", Host: "localhost"}}, answer: limit}, "xyz.relay.test")
		for _, kept := range []bool{false, true} {
			if status, took, err := answersAfter(t, s, kept, limit-time.Second); status != http.StatusOK || took != 2*(limit-time.Second) {
				t.Errorf("kept %v: status %d after %v: %v", kept, status, took, err)
			}
			if _, took, err := answersAfter(t, s, kept, limit+time.Second); took != limit || !s.isLate(err) || !s.fault(err).late {
				t.Errorf("kept %v: after %v: %v", kept, took, err)
			}
		}
		<-time.After(2 * limit) // until the service has thought
	})
}
