package publish

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A visitor that has ended its side in good order is answered for halfCloseGrace,
// and one that is gone is not.
func TestHalfCloseGrace(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			parent, end := context.WithCancel(t.Context())
			ctx, release := halfCloseContext(parent, func() bool { return gone })
			defer release()
			want := halfCloseGrace
			if gone {
				want = 0
			}
			start := time.Now()
			end()
			<-ctx.Done()
			if took := time.Since(start); took != want {
				t.Errorf("gone %v: the request is given up after %v, want %v", gone, took, want)
			}
		})
	}
}

// A scripted is a connection whose other side has said all that it will say.
type scripted struct {
	net.Conn
	said io.Reader
}

// Read implements net.Conn.
func (s scripted) Read(p []byte) (int, error) { return s.said.Read(p) }

// What is known of an answer's head stays that of its request: an answer without a body
// gives its connection back before it is looked at, and another request may have it by then.
func TestHeadOfAnAnswerIsNoOtherRequests(t *testing.T) {
	const one, two = "HTTP/1.1 204 First\r\ncache-CONTROL: no-store\r\n\r\n", "HTTP/1.1 204 Second\r\nPragma: no-cache\r\n\r\n"
	c := &answerConn{Conn: scripted{said: io.MultiReader(strings.NewReader(one), strings.NewReader(two))}}
	p := make([]byte, 1024)
	first := c.asked("GET")
	c.Read(p)
	second := c.asked("GET")
	c.Read(p)
	if h := c.read(first); h.reason != "First" || h.pragmaAlone || len(h.spelling) != 1 {
		t.Errorf("of the first answer is known %+v", h)
	}
	if h := c.read(second); h.reason != "Second" || !h.pragmaAlone || len(h.spelling) != 0 {
		t.Errorf("of the second one %+v", h)
	}
}
