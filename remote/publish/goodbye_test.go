package publish_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// A farewell is how an HTTP/2 service says goodbye to the second request of its
// first connection. All others are answered with their bodies.
type farewell struct {
	after  int  // bytes of the body that it takes before; -1: not even the head is looked at
	goAway int  // added to the request's stream for GOAWAY's last one; 1 is none
	reset  bool // REFUSED_STREAM
	close  bool
}

// serve is the service. It counts requests that it has taken, with repetitions.
func (f farewell) serve(ln net.Listener, config *tls.Config, taken *atomic.Int32) (done func()) {
	var conns atomic.Int32
	return testnet.Accept(ln, func(c net.Conn) {
		if config != nil {
			tc := tls.Server(c, config)
			if tc.Handshake() != nil {
				return
			}
			c = tc
		}
		first := conns.Add(1) == 1
		bodies := make(map[uint32]*bytes.Buffer)
		requests := 0
		said := false
		goodbye := func(fr *http2.Framer, stream uint32) bool {
			if said {
				return true
			}
			said = true
			if f.reset {
				fr.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
			}
			if f.goAway <= 0 {
				fr.WriteGoAway(uint32(int(stream)+f.goAway), http2.ErrCodeNo, []byte("debug data"))
			}
			return !f.close
		}
		serveFrames(c, func(fr *http2.Framer, frame http2.Frame) bool {
			stream := frame.Header().StreamID
			leaving := first && requests == 2
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				requests++
				taken.Add(1)
				bodies[stream] = new(bytes.Buffer)
				if leaving = first && requests == 2; leaving && (f.after <= 0 || frame.StreamEnded()) {
					return goodbye(fr, stream)
				}
				if frame.StreamEnded() {
					h2Answer(fr, stream, "200", "no body")
				}
			case *http2.DataFrame:
				if bodies[stream] == nil {
					return true
				}
				bodies[stream].Write(frame.Data())
				if n := uint32(len(frame.Data())); n > 0 {
					fr.WriteWindowUpdate(0, n)
					fr.WriteWindowUpdate(stream, n)
				}
				if leaving && bodies[stream].Len() >= f.after {
					return goodbye(fr, stream)
				}
				if !leaving && frame.StreamEnded() {
					h2Answer(fr, stream, "200", fmt.Sprintf("%d bytes", bodies[stream].Len()))
				}
			}
			return true
		})
	})
}

// A request that the service says it has not processed is sent again, with its
// body while that is kept. One that it may have processed is sent again only if
// its method is idempotent.
func TestRequestSurvivesAGoodbye(t *testing.T) {
	ca := testca.New(t)
	const lower = -2
	for _, c := range []struct {
		name   string
		method string
		body   int
		farewell
		want  string
		taken int32
	}{
		{"GOAWAY at the head", "POST", 3000, farewell{after: 0, goAway: lower}, "200 3000 bytes", 3},
		{"GOAWAY at the head, and the end", "POST", 3000, farewell{after: 0, goAway: lower, close: true}, "200 3000 bytes", 3},
		{"GOAWAY within the body", "POST", 60_000, farewell{after: 1, goAway: lower}, "200 60000 bytes", 3},
		{"GOAWAY within the body, and the end", "POST", 60_000, farewell{after: 1, goAway: lower, close: true}, "200 60000 bytes", 3},
		{"GOAWAY behind the body", "POST", 3000, farewell{after: 3000, goAway: lower}, "200 3000 bytes", 3},
		{"GOAWAY behind the body, and the end", "POST", 3000, farewell{after: 3000, goAway: lower, close: true}, "200 3000 bytes", 3},
		{"GOAWAY behind all that is kept", "POST", publish.KeptBody, farewell{after: publish.KeptBody, goAway: lower}, fmt.Sprintf("200 %d bytes", publish.KeptBody), 3},
		{"GOAWAY behind more than is kept", "POST", 4 * publish.KeptBody, farewell{after: 2 * publish.KeptBody, goAway: lower, close: true}, "502", 2},
		{"REFUSED_STREAM at the head", "POST", 3000, farewell{after: 0, reset: true, goAway: 1}, "200 3000 bytes", 3},
		{"REFUSED_STREAM within the body", "PATCH", 60_000, farewell{after: 1, reset: true, goAway: 1}, "200 60000 bytes", 3},
		{"REFUSED_STREAM behind the body", "POST", 3000, farewell{after: 3000, reset: true, goAway: 1}, "200 3000 bytes", 3},
		{"GOAWAY for a later one, POST", "POST", 3000, farewell{after: 3000, goAway: 0, close: true}, "502", 2},
		{"GOAWAY for a later one, PUT", "PUT", 3000, farewell{after: 3000, goAway: 0, close: true}, "200 3000 bytes", 3},
		{"GOAWAY for a later one, GET", "GET", 0, farewell{goAway: 0, close: true}, "200 no body", 3},
		{"the end alone, POST", "POST", 3000, farewell{after: 3000, goAway: 1, close: true}, "502", 2},
		{"the end alone, DELETE", "DELETE", 0, farewell{goAway: 1, close: true}, "200 no body", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, kind := range []string{"https", "h2c"} {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				target, config := tcpTarget("http", ln.Addr()), (*tls.Config)(nil)
				if target.H2C = kind == "h2c"; !target.H2C {
					target = insecureTarget(ln.Addr())
					config = &tls.Config{Certificates: []tls.Certificate{ca.Issue("localhost")}, NextProtos: []string{"h2"}}
				}
				var taken atomic.Int32
				done := c.serve(ln, config, &taken)
				client := serveTarget(t, target).client(true)
				get(t, client) // the connection is now one that is used again
				var upload io.Reader
				if c.body > 0 {
					upload = bytes.NewReader(make([]byte, c.body))
				}
				req, _ := http.NewRequest(c.method, "https://"+domain, upload)
				resp, err := client.Do(req)
				got := body(t, resp, err)
				if got = fmt.Sprint(resp.StatusCode, " ", got); resp.StatusCode == 502 {
					got = "502"
				}
				if got != c.want || taken.Load() != c.taken {
					t.Errorf("%s: %s, taken %d times; want %s, %d times", kind, got, taken.Load(), c.want, c.taken)
				}
				done()
			}
		})
	}
}

// An HTTP/1 service may close a connection just as a request goes out. One with
// an idempotent method is sent again. Another one is not, since nobody knows
// whether it was processed (RFC 9112, section 9.3.1).
func TestRequestOnAConnectionThatIsClosed(t *testing.T) {
	for method, want := range map[string]string{"GET": "200", "HEAD": "200", "OPTIONS": "200", "PUT": "200", "DELETE": "200", "POST": "502", "PATCH": "502"} {
		t.Run(method, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var conns, taken atomic.Int32
			done := testnet.Accept(ln, func(c net.Conn) {
				first := conns.Add(1) == 1
				for br := bufio.NewReader(c); ; {
					req, err := http.ReadRequest(br)
					if err != nil || req.Method == "PRI" { // that one looks what else is spoken here
						return
					}
					if n := taken.Add(1); first && n == 2 {
						return
					}
					io.Copy(io.Discard, req.Body)
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			defer done()
			client := serveTarget(t, tcpTarget("http", ln.Addr())).client(false)
			get(t, client)
			var upload io.Reader
			if method == "PUT" || method == "POST" || method == "PATCH" {
				upload = strings.NewReader("body")
			}
			req, _ := http.NewRequest(method, "https://"+domain, upload)
			resp, err := client.Do(req)
			body(t, resp, err)
			if got := fmt.Sprint(resp.StatusCode); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if n, wanted := taken.Load(), map[string]int32{"200": 3, "502": 2}[want]; n != wanted {
				t.Errorf("taken %d times, want %d", n, wanted)
			}
		})
	}
}
