package publish_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/testnet"
)

// A visitor over HTTP/2 that resets its stream while interim answers are sent ends that request,
// and nothing else: no goroutine reads a head that another one clears. The race detector sees
// one that does.
func TestStreamIsResetWhileInterimAnswersAreSent(t *testing.T) {
	var hint strings.Builder
	for i := range 5 {
		fmt.Fprintf(&hint, "X-Hint-%d: </a.css>; rel=preload\r\n", i)
	}
	hints := strings.Repeat("HTTP/1.1 103 Early Hints\r\n"+hint.String()+"\r\n", 20)
	addr := testnet.Serve(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			if _, err := io.WriteString(c, hints+"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
	v := newH2Visitor(t, serveTarget(t, tcpTarget("http", addr)))
	v.conn.NetConn().SetDeadline(time.Time{})
	heads := make(chan uint32)
	go func() {
		defer close(heads)
		for {
			f, err := v.fr.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.MetaHeadersFrame); ok {
				heads <- f.StreamID
			}
		}
	}()
	for range 300 {
		v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /", true)
		for id := range heads {
			if id == v.stream {
				break
			}
		}
		v.fr.WriteRSTStream(v.stream, http2.ErrCodeCancel)
		v.stream += 2
	}
	v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /", true)
	for range 21 { // with the answer's own
		id, ok := <-heads
		for ok && id != v.stream {
			id, ok = <-heads
		}
		if !ok {
			t.Fatal("the connection has ended")
		}
	}
	v.conn.NetConn().Close()
	for range heads {
	}
}
