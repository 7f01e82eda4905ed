package publish_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"keystay/internal/testnet"
)

// A flushed is a visitor's ResponseWriter that knows whether what was written has gone.
type flushed struct {
	*httptest.ResponseRecorder
	all atomic.Bool
}

// FlushError implements what http.ResponseController asks for.
func (f *flushed) FlushError() error {
	f.all.Store(true)
	return nil
}

// A visitor has its page before the remote looks what else the service speaks, which may
// take seconds.
func TestPageGoesOutBeforeTheLookAtTheService(t *testing.T) {
	w := &flushed{ResponseRecorder: httptest.NewRecorder()}
	var asked, early, late atomic.Int32
	addr := testnet.Serve(t, func(c net.Conn) {
		switch {
		case asked.Add(1) == 1:
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")
		case w.all.Load():
			late.Add(1)
		default:
			early.Add(1)
		}
	})
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = domain
	tcpTarget("http", addr).Handler(domain).ServeHTTP(w, r)
	if w.Code != 502 || early.Load() > 0 || late.Load() == 0 {
		t.Errorf("status %d; %d looks come before the page, and %d behind it", w.Code, early.Load(), late.Load())
	}
}
