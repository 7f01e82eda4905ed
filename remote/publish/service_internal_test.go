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

// A service that has taken a request may think as long as its visitor waits: a
// long poll and a service that hangs look the same.
func TestNoLimitBeforeAnAnswerBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const thinks = 24 * time.Hour
		s := newService(serviceKey{Target: &Target{URL: &url.URL{Scheme: "http", Host: "localhost"}}}, "xyz.relay.test")
		tr := s.transport(transportKey{}, small, func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
					t.Error(err)
				}
				<-time.After(thinks)
				io.WriteString(far, "HTTP/1.1 204 No Content\r\n\r\n")
			}()
			return near, nil
		})
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if took := time.Since(began); res.StatusCode != http.StatusNoContent || took != thinks {
			t.Errorf("status %d after %v", res.StatusCode, took)
		}
	})
}
