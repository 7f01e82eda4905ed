package proxydial

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Whatever a proxy answers, no more than the header is read, and no more than
// maxAnswer of it.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 Connection established\r\n\r\nmore"))
	f.Add([]byte("HTTP/1.0 200 OK\nVia: x\n y\n\nmore"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 No\r\nProxy-Authenticate: Basic, NTLM\r\n\r\n"))
	f.Add([]byte("SSH-2.0-x\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		err := readAnswer(r)
		read := b[:len(b)-r.Len()]
		var e *Error
		switch {
		case len(read) > maxAnswer:
			t.Errorf("%d bytes were read", len(read))
		case err == nil && !bytes.HasSuffix(read, []byte("\n")):
			t.Errorf("read up to %q", read)
		case errors.As(err, &e) && (e.Status < 300 || e.Error() == ""):
			t.Errorf("an error with status %d", e.Status)
		case err == io.EOF:
			t.Error("a bare EOF")
		}
	})
}
