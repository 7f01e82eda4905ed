package remote_test

import (
	"errors"
	"io"
	"testing"

	"keystay/framing"
)

// The end of a visitor's TCP connection is a good end of what it has sent only
// behind a close_notify.
func TestEndWithoutCloseNotify(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	link := r.next()
	for name, orderly := range map[string]bool{"close_notify": true, "end of TCP": false} {
		v := link.visitor("http/1.1")
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(v, "part")
		if orderly {
			v.CloseWrite()
		} else {
			v.NetConn().(*framing.Stream).CloseWrite()
		}
		b, err := io.ReadAll(c)
		if string(b) != "part" || (err == nil) != orderly || !orderly && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		c.Close()
	}
}
