package publish_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"keystay/remote/publish"
)

// A head of 64 KiB passes, and a longer one gets 431.
func TestLongHeadGets431(t *testing.T) {
	target, service := rawTarget(t, "http")
	p := serveTarget(t, target)
	const room = 4 << 10 // net/http takes this much more
	for _, size := range []int{publish.MaxHeaderBytes - 200, publish.MaxHeaderBytes + room} {
		fits := size < publish.MaxHeaderBytes
		c := p.visitor("http/1.1")
		got := make(chan string, 1)
		go io.WriteString(c, crlf("GET / HTTP/1.1\nHost: $H\nx: ")+strings.Repeat("a", size)+"\r\n\r\n")
		go func() { got <- hear(c, len("HTTP/1.1 204")) }()
		if fits {
			service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 204 No Content\r\n\r\n"}
			if raw := <-service.got; len(raw) < size {
				t.Errorf("%d bytes arrive of %d", len(raw), size)
			}
		}
		if answer := <-got; (answer == "HTTP/1.1 204") != fits || (answer == "HTTP/1.1 431") == fits {
			t.Errorf("a head of %d bytes: %q", size, answer)
		}
		c.Close()
	}
}

// A head of many short fields, which would take twenty times its bytes, gets 400,
// or on a connection that was used before an end; also on a connection whose requests cannot be
// followed any more. What has fewer passes.
func TestHeadsOfManyFields(t *testing.T) {
	target := handlerTarget(t, func(http.ResponseWriter, *http.Request) {})
	p := serveTarget(t, target)
	for before, request := range map[string]string{
		"first":                      "",
		"behind a long line":         "GET / HTTP/1.1\nHost: $H\nX: " + strings.Repeat("a", 9<<10) + "\n\n",
		"behind a body":              "POST / HTTP/1.1\nHost: $H\nContent-Length: 3000\n\n" + strings.Repeat("\n", 3000),
		"behind a refused one":       "POST / HTTP/1.1\nHost: other.test\nContent-Length: 3000\n\n" + strings.Repeat("\n", 3000),
		"behind what may be no HTTP": "GET / HTTP/1.1\nHost: $H\nConnection: Upgrade\nUpgrade: x\n\nGET / HTTP/1.1\nHost: $H\n\n",
	} {
		t.Run(before, func(t *testing.T) {
			c := p.visitor("http/1.1")
			defer c.Close()
			in := bufio.NewReader(c)
			next := func() (*http.Response, error) {
				resp, err := http.ReadResponse(in, nil)
				if err == nil {
					io.Copy(io.Discard, resp.Body)
				}
				return resp, err
			}
			io.WriteString(c, strings.ReplaceAll(crlf(request), strings.Repeat("\r\n", 3000), strings.Repeat("\n", 3000)))
			for range strings.Count(request, " HTTP/1.1\n") {
				if _, err := next(); err != nil {
					t.Fatal(err)
				}
			}
			fields := func(n int) string {
				var b strings.Builder
				for i := range n {
					fmt.Fprintf(&b, "%x:\r\n", i)
				}
				return crlf("GET / HTTP/1.1\nHost: $H\n") + b.String()
			}
			io.WriteString(c, fields(publish.MaxFields-100)+"\r\n")
			if resp, err := next(); err != nil || resp.StatusCode != 200 {
				t.Errorf("%d fields: %v, %v", publish.MaxFields-100, resp, err)
			}
			io.WriteString(c, fields(publish.MaxFields+600)+"\r\n")
			if resp, err := next(); err == nil && resp.StatusCode != 400 {
				t.Errorf("%d fields: %v", publish.MaxFields+600, resp.Status)
			}
		})
	}
}

// No frame of a visitor may be longer than those that browsers send: one of any
// kind is kept as a whole.
func TestFramesOfVisitorsAreShort(t *testing.T) {
	target := handlerTarget(t, func(http.ResponseWriter, *http.Request) {})
	v := newH2Visitor(t, serveTarget(t, target))
	defer v.conn.Close()
	f, err := v.fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := f.(*http2.SettingsFrame).Value(http2.SettingMaxFrameSize); n != publish.MaxFrame {
		t.Errorf("frames of %d bytes", n)
	}
	v.conn.Write([]byte{0, publish.MaxFrame >> 8, 1, 0xff, 0, 0, 0, 0, 0}) // the header of a frame of an unknown kind
	code := http2.ErrCodeNo
	for { // up to the end of the connection
		f, err := v.fr.ReadFrame()
		if err != nil {
			break
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code = g.ErrCode
		}
	}
	if code != http2.ErrCodeFrameSize {
		t.Errorf("it ends with %v", code)
	}
}

// A visitor's HTTP/2 connection is told how many requests it may make at once.
func TestVisitorIsToldHowManyStreamsItMayOpen(t *testing.T) {
	target, _ := rawTarget(t, "http")
	v := newH2Visitor(t, serveTarget(t, target))
	f, err := v.fr.ReadFrame()
	settings, ok := f.(*http2.SettingsFrame)
	if err != nil || !ok {
		t.Fatal(f, err)
	}
	if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != publish.MaxVisitorStreams {
		t.Errorf("%d requests at once, want %d", n, publish.MaxVisitorStreams)
	}
}

// A countingConn counts the TLS records of application data that it reads.
type countingConn struct {
	net.Conn
	records atomic.Int64
	left    int
	head    []byte
}

// Read implements net.Conn.
func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, b := range p[:n] {
		if c.left > 0 {
			c.left--
			continue
		}
		if c.head = append(c.head, b); len(c.head) == 5 {
			if c.head[0] == 23 {
				c.records.Add(1)
			}
			c.left = int(c.head[3])<<8 | int(c.head[4])
			c.head = c.head[:0]
		}
	}
	return n, err
}

// CloseWrite ends this side.
func (c *countingConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// A small answer is one TLS record, whatever tells its length. Over HTTP/2 it is
// one for each frame, and its last frame has data in it.
func TestSmallAnswerIsOneRecord(t *testing.T) {
	for _, kind := range kinds {
		target, service := rawTarget(t, kind)
		p := serveTarget(t, target)
		for name, answer := range map[string]string{
			"length": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"none":   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		} {
			for _, proto := range []string{"http/1.1", "h2"} {
				t.Run(fmt.Sprint(kind, name, proto), func(t *testing.T) {
					count := &countingConn{}
					c := p.visitorOver(func(c net.Conn) net.Conn { count.Conn = c; return count }, proto)
					var v *h2Visitor
					if proto == "h2" {
						v = h2Over(t, c)
					}
					var before int64
					for i := range 2 { // the first comes with settings and tickets
						before = count.records.Load()
						if v != nil {
							v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /", true)
						} else {
							io.WriteString(c, crlf("GET / HTTP/1.1\nHost: $H\n\n"))
						}
						service.steps <- rawStep{until: "\r\n\r\n", answer: answer}
						<-service.got
						if v != nil {
							if got := v.answer(); name != "none" && !strings.HasSuffix(got, "\nDATA hello\nEND\n") {
								t.Errorf("the visitor gets %q", got)
							}
							if i == 0 {
								v.fr.WritePing(false, [8]byte{})
								for {
									f, err := v.fr.ReadFrame()
									if err != nil {
										t.Fatal(err)
									}
									if _, pong := f.(*http2.PingFrame); pong {
										break
									}
								}
							}
						} else {
							end := map[string]string{"length": "hello", "chunks": "0\r\n\r\n", "none": "\r\n\r\n"}[name]
							for got := ""; !strings.HasSuffix(got, end); got += hear(c, 1) {
								if strings.Contains(got, "<") {
									t.Fatal(got)
								}
							}
						}
					}
					want := int64(1)
					if proto == "h2" && name != "none" {
						want = 2 // net/http writes HEADERS and DATA one by one
					}
					if n := count.records.Load() - before; n != want {
						t.Errorf("%d records, want %d", n, want)
					}
				})
			}
		}
	}
}

// A service decides about a body that the visitor asks for leave to send: its
// answer comes first. One that never says a word gets the body all the same.
func TestExpectIsTheServicesToAnswer(t *testing.T) {
	for name, tt := range map[string]struct{ first, then, want string }{
		"no":      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "", "HTTP/1.1 403 Forbidden\r\n"},
		"yes":     {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"},
		"nothing": {"", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			target, service := rawTarget(t, "http")
			c := serveTarget(t, target).visitor("http/1.1")
			io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nExpect: 100-continue\nContent-Length: 5\n\n"))
			service.steps <- rawStep{until: "\r\n\r\n", answer: tt.first}
			if got := <-service.got; !strings.Contains(got, "\r\nExpect: 100-continue\r\n") {
				t.Errorf("the service gets %q", got)
			}
			got := ""
			if tt.then != "" {
				const leave = "HTTP/1.1 100 Continue\r\n\r\n"
				if got = hear(c, len(leave)); got != leave {
					t.Errorf("the visitor gets %q", got)
				}
				io.WriteString(c, "hello")
				service.steps <- rawStep{until: "hello", answer: tt.then}
				<-service.got
			}
			if got += hear(c, len(tt.want)-len(got)); got != tt.want {
				t.Errorf("the visitor gets %q, want %q", got, tt.want)
			}
		})
	}
}

// Where an answer to Expect is one that asks for another connection, the body is
// asked for when the service says so there.
func TestExpectOverAnotherConnection(t *testing.T) {
	target, service := rawTarget(t, "https")
	c := serveTarget(t, target).visitor("http/1.1")
	io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nExpect: 100-continue\nContent-Length: 5\n\n"))
	service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"}
	<-service.got
	service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 100 Continue\r\n\r\n"}
	if got := <-service.got; !strings.HasPrefix(got, "POST / HTTP/1.1\r\n") {
		t.Errorf("over the other connection the service gets %q", got)
	}
	const leave = "HTTP/1.1 100 Continue\r\n\r\n"
	if got := hear(c, len(leave)); got != leave {
		t.Errorf("the visitor gets %q", got)
	}
	io.WriteString(c, "hello")
	answered := make(chan string)
	go func() { answered <- hear(c, len("HTTP/1.1 200")) }()
	step := rawStep{until: "hello", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}
	for done := false; !done; {
		select {
		case service.steps <- step: // the first connection may get the body, too
			<-service.got
		case got := <-answered:
			if done = true; got != "HTTP/1.1 200" {
				t.Errorf("the visitor gets %q", got)
			}
		}
	}
}

// A service that does not want a body may have much to say about it: that comes whole.
func TestAnswerInPlaceOfExpectedBodyComesWhole(t *testing.T) {
	const size = 1 << 20
	target := tcpTarget("http", rawService(t, func(c *net.TCPConn) {
		fmt.Fprintf(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n", size)
		io.Copy(c, io.LimitReader(zeroes{}, size))
		io.Copy(io.Discard, c)
	}))
	p := serveTarget(t, target)
	for range 10 {
		c := p.visitor("http/1.1")
		io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nExpect: 100-continue\nContent-Length: 5\n\n"))
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusForbidden || n != size || err != nil {
			t.Fatalf("the visitor gets %s and %d bytes, %v", res.Status, n, err)
		}
		c.Close()
	}
}
