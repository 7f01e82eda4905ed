package publish

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
)

// Counts are how many requests of visitors are over, by the class of what they were
// answered with. Sites share them.
type Counts struct{ classes [6]atomic.Int64 }

// Class returns how many were answered with the status codes from n hundred on: 1 to 5,
// where 1 are those over HTTP/1.1 that have switched to another protocol, such as to a
// WebSocket; 0 returns how many had no answer, since the visitor has gone.
func (c *Counts) Class(n int) int64 { return c.classes[n].Load() }

// A coded writer knows the status code of an answer.
type coded struct {
	http.ResponseWriter
	code int // 0 before it
}

// over counts a request that is over.
func (c *Counts) over(w *coded) {
	if class := w.code / 100; class < len(c.classes) {
		c.classes[class].Add(1)
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *coded) WriteHeader(code int) {
	w.ResponseWriter.WriteHeader(code)
	if w.code == 0 && code >= 200 {
		w.code = code
	}
}

// Write implements http.ResponseWriter.
func (w *coded) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if w.code == 0 && n > 0 {
		w.code = http.StatusOK
	}
	return n, err
}

// FlushError sends what there is, a head at least.
func (w *coded) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if w.code == 0 && err == nil {
		w.code = http.StatusOK
	}
	return err
}

// Hijack implements http.Hijacker: it is for a switch of protocols.
func (w *coded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.code = http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// Unwrap is for http.ResponseController.
func (w *coded) Unwrap() http.ResponseWriter { return w.ResponseWriter }
