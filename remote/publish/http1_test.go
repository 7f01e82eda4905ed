package publish_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"keystay/internal/memconn"
	"keystay/remote/publish"
)

// What a visitor sends right behind a request for another protocol arrives once,
// and whole: in the same record, or later and before the answer.
func TestBytesBehindUpgrade(t *testing.T) {
	for _, kind := range kinds {
		for name, early := range map[string]string{
			"a few":         "EARLY",
			"an empty line": "\r\n\r\nEARLY",
			"many":          strings.Repeat("0123456789abcdef", 6<<10), // 96 KiB
		} {
			for _, apart := range []bool{false, true} {
				t.Run(fmt.Sprint(kind, " ", name, " ", apart), func(t *testing.T) {
					target, service := rawTarget(t, kind)
					c := serveTarget(t, target).visitor("http/1.1")
					head := crlf("GET / HTTP/1.1\nHost: $H\nConnection: Upgrade\nUpgrade: echo\nSec-WebSocket-Key: k\n\n")
					go func() {
						if !apart {
							head += early
						}
						io.WriteString(c, head)
						if apart {
							io.WriteString(c, early)
						}
						io.WriteString(c, "END")
						c.CloseWrite()
					}()
					service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 101 Switch, please\r\nConnection: Upgrade\r\nUpgrade: echo\r\nsec-websocket-accept: a\r\nX: 1\r\n\r\nhi;"}
					want := crlf("GET / HTTP/1.1\nConnection: Upgrade\nHost: $H\nSec-WebSocket-Key: k\nUpgrade: echo\n\n")
					if got := sorted(withoutForwarded(<-service.got, domain)); got != want {
						t.Errorf("the service gets %q, want %q", got, want)
					}
					answered := crlf("HTTP/1.1 101 Switch, please\nConnection: Upgrade\nsec-websocket-accept: a\nUpgrade: echo\nX: 1\n\n") + "hi;"
					if got := sorted(hear(c, len(answered))); got != answered {
						t.Errorf("the visitor gets %q, want %q", got, answered)
					}
					service.steps <- rawStep{until: "END"}
					if got := <-service.got; got != early+"END" {
						t.Errorf("%d bytes arrive, want %d: %.40q", len(got), len(early)+3, got)
					}
				})
			}
		}
	}
}

// Requests that were sent at once are each passed on with their own spelling, and
// so is one behind an upgrade that was not granted.
func TestPipelinedRequestsKeepTheirSpelling(t *testing.T) {
	target, service := rawTarget(t, "http")
	c := serveTarget(t, target).visitor("http/1.1")
	go io.WriteString(c, crlf("POST /1 HTTP/1.1\nHost: $H\nContent-Length: 5\nx-one: 1\n\nhello\nPUT /2 HTTP/1.1\nHost: $H\nTransfer-Encoding: chunked\nx-TWO: 2\n\n3\nabc\n0\n\n\nGET /3 HTTP/1.1\nHost: $H\nConnection: Upgrade\nUpgrade: x\nx-thREE: 3\n\n"))
	for i, name := range []string{"x-one: 1", "x-TWO: 2", "x-thREE: 3"} {
		service.steps <- rawStep{until: []string{"hello", "0\r\n\r\n", "\r\n\r\n"}[i], answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
		if got := <-service.got; !strings.Contains(got, "\r\n"+name+"\r\n") {
			t.Errorf("request %d without %q: %q", i+1, name, got)
		}
	}
	for range 3 {
		for !strings.HasSuffix(hear(c, 1), "o") {
		}
		hear(c, 1)
	}
}

// A chunk that is not well formed gets 400, as far as the answer has not begun,
// and the service never sees a whole body.
func TestBrokenChunkIsNeverAWholeBody(t *testing.T) {
	target, service := rawTarget(t, "http")
	p := serveTarget(t, target)
	for name, chunk := range map[string]string{
		"bad size": "xyz\r\nhello\r\n0\r\n\r\n", "0x": "0x5\r\nhello\r\n0\r\n\r\n", "overflow": "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
		"no line break": "5\r\nhelloXX0\r\n\r\n", "extension": "5;" + strings.Repeat("x", 20000) + "\r\nhello\r\n0\r\n\r\n", "LF": "5\nhello\n0\n\n", "negative": "-5\r\nhello\r\n0\r\n\r\n",
	} {
		c := p.visitor("http/1.1")
		go io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nTransfer-Encoding: chunked\n\n3\nabc\n")+chunk)
		got := make(chan string, 1)
		go func() { got <- hear(c, len("HTTP/1.1 400")) }()
		select {
		case service.steps <- rawStep{until: "\r\n0\r\n\r\n"}:
			if body := <-service.got; !strings.HasSuffix(body, ">") {
				t.Errorf("%s: the service sees a whole body: %q", name, body)
			}
			if answer := <-got; answer != "HTTP/1.1 400" {
				t.Errorf("%s: the visitor gets %q", name, answer)
			}
		case answer := <-got: // the service was not even asked
			if answer != "HTTP/1.1 400" {
				t.Errorf("%s: the visitor gets %q", name, answer)
			}
		}
		c.Close()
	}
}

// An answer that has begun when a chunk turns out to be broken is cut.
func TestBrokenChunkBehindAnswer(t *testing.T) {
	target, service := rawTarget(t, "http")
	p := serveTarget(t, target)
	c := p.visitor("http/1.1")
	io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nTransfer-Encoding: chunked\n\n3\nabc\n"))
	service.steps <- rawStep{until: "3\r\nabc\r\n", answer: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"}
	<-service.got
	for line := ""; !strings.HasSuffix(line, "part"); line += hear(c, 1) {
		if strings.Contains(line, "<") {
			t.Fatal(line)
		}
	}
	io.WriteString(c, "xyz\r\n")
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("behind a part of the answer: %v, want a reset", err)
	}
}

// A visitor whose connection ends without a close_notify is gone: the service is
// told at once, over HTTP/1.1 and 2, however quiet the answer is. One that ends in
// good order still gets its answer.
func TestGoneVisitorIsNoWaitingOne(t *testing.T) {
	for _, proto := range []string{"http/1.1", "h2"} {
		for _, begun := range []bool{false, true} {
			for name, leave := range map[string]func(c net.Conn){
				"FIN":   func(c net.Conn) { c.(*memconn.Conn).CloseWrite() },
				"reset": func(c net.Conn) { c.(*memconn.Conn).Reset() },
			} {
				t.Run(fmt.Sprint(proto, begun, name), func(t *testing.T) {
					target, service := rawTarget(t, "http")
					p := serveTarget(t, target)
					answer := ""
					if begun {
						answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
					}
					var below net.Conn
					if proto == "h2" {
						v := newH2Visitor(t, p)
						v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /", true)
						below = v.conn.NetConn()
					} else {
						c := p.visitor(proto)
						io.WriteString(c, crlf("GET / HTTP/1.1\nHost: $H\n\n"))
						below = c.NetConn()
					}
					service.steps <- rawStep{until: "\r\n\r\n", answer: answer, watch: true}
					<-service.got
					before := time.Now()
					leave(below)
					<-service.got // its connection has ended
					if took := time.Since(before); took >= publish.HalfCloseGrace {
						t.Errorf("the service is told after %v", took)
					}
				})
			}
		}
	}
}

// A visitor of HTTP/1.0 gets no interim answers, which it would take for the last one.
func TestHTTP10GetsNoInterimAnswers(t *testing.T) {
	for _, kind := range kinds {
		target, service := rawTarget(t, kind)
		c := serveTarget(t, target).visitor("http/1.1")
		got := make(chan string, 1)
		go func() { got <- say(t, c, crlf("GET / HTTP/1.0\nHost: $H\n\n"), len("HTTP/1.0 200 OK")) }()
		service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
		<-service.got
		if line := <-got; line != "HTTP/1.0 200 OK" {
			t.Errorf("%s: the visitor gets %q", kind, line)
		}
		if rest, _ := io.ReadAll(c); strings.Contains(string(rest), "Link") || !strings.HasSuffix(string(rest), "\r\n\r\nok") {
			t.Errorf("%s: behind it %q", kind, rest)
		}
	}
}

// A break behind an upgrade is passed on as one, either way.
func TestBreakBehindUpgrade(t *testing.T) {
	for _, kind := range []string{"http", "https"} {
		target, service := rawTarget(t, kind)
		p := serveTarget(t, target)
		upgrade := func(step rawStep) net.Conn {
			c := p.visitor("http/1.1")
			step.until, step.answer = "\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
			go io.WriteString(c, crlf("GET / HTTP/1.1\nHost: $H\nConnection: Upgrade\nUpgrade: echo\n\n"))
			service.steps <- step
			<-service.got
			if got := hear(c, len(step.answer)); got != step.answer {
				t.Fatalf("%s: the visitor gets %q", kind, got)
			}
			return c
		}
		c := upgrade(rawStep{watch: true})
		c.(*tls.Conn).NetConn().(*memconn.Conn).Reset()
		if got := <-service.got; !strings.Contains(got, "reset") {
			t.Errorf("%s: the service sees %s, want a reset", kind, got)
		}
		c = upgrade(rawStep{abort: true})
		io.WriteString(c, "x")
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the visitor sees %v, want a reset", kind, err)
		}
	}
}
