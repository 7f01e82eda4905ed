package remote_test

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
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

// What is written between Cork and Uncork goes then, in its order, and what comes behind
// it at once.
func TestCorkedRecordsGoTogether(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	v := r.next().visitor("http/1.1")
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	c := accepted.(*tls.Conn)
	below := c.NetConn().(interface {
		Cork([]byte)
		Uncork() error
	})
	want := strings.Repeat("0123456789", 1000)
	for range 2 {
		below.Cork(make([]byte, 10)) // less than is written
		io.WriteString(c, want[:9])
		io.WriteString(c, want[9:])
		if err := below.Uncork(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "end")
		got := make([]byte, len(want)+3)
		if _, err := io.ReadFull(v, got); err != nil || string(got) != want+"end" {
			t.Errorf("%.20q, %v", got, err)
		}
	}
}
