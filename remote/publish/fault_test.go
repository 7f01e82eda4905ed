package publish_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// A logBook is a log that tests wait for.
type logBook struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newLogBook() *logBook { return &logBook{more: make(chan struct{}, 1000)} }

// Write implements io.Writer.
func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	l.more <- struct{}{}
	return len(p), nil
}

// next waits for the next line.
func (l *logBook) next(t *testing.T) string {
	t.Helper()
	select {
	case <-l.more:
	case <-time.After(patience):
		t.Fatal("the log says nothing")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.lines[0]
	l.lines = l.lines[1:]
	return line
}

// logger is for a target.
func (l *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

const secret = "what-the-service-sent"

// What the log says of an answer names the rule that it breaks, and repeats
// nothing of it. The errors are those of package net/http itself: this fails
// when their texts change.
func TestLogNamesTheBrokenRule(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	chunked := head + "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ name, answer, want string }{
		{"no status line", secret + "\r\n\r\n", "no status line"},
		{"ICY", "ICY 200 OK\r\n\r\n" + secret, "does not begin with a version of HTTP"},
		{"HTTP/x", "HTTP/x 200 OK\r\n\r\n" + secret, "does not begin with a version of HTTP"},
		{"status 000", "HTTP/1.1 000 " + secret + "\r\n\r\n", "outside 100 to 999"},
		{"status 099", "HTTP/1.1 099 " + secret + "\r\n\r\n", "outside 100 to 999"},
		{"status 99", "HTTP/1.1 99 " + secret + "\r\n\r\n", "not three digits"},
		{"status 1000", "HTTP/1.1 1000 " + secret + "\r\n\r\n", "not three digits"},
		{"status of letters", "HTTP/1.1 abc " + secret + "\r\n\r\n", "not three digits"},
		{"status below zero", "HTTP/1.1 -20 " + secret + "\r\n\r\n", "not three digits"},
		{"101 that was not asked for", "HTTP/1.1 101 " + secret + "\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "not asked for"},
		{"no colon", head + secret + "\r\n\r\n", "no colon"},
		{"an empty name", head + ": " + secret + "\r\n\r\n", "wrong name"},
		{"a folded first line", head + " " + secret + "\r\n\r\n", "no header"},
		{"Content-Length twice", head + "Content-Length: 1\r\nContent-Length: 2\r\nX: " + secret + "\r\n\r\n", "several Content-Length that differ"},
		{"Content-Length of letters", head + "Content-Length: " + secret + "\r\n\r\n", "Content-Length of its answer is no number"},
		{"Content-Length below zero", head + "Content-Length: -1\r\nX: " + secret + "\r\n\r\n", "Content-Length of its answer is no number"},
		{"an empty Content-Length", head + "Content-Length:\r\nX: " + secret + "\r\n\r\n", "Content-Length of its answer is no number"},
		{"an unknown coding", head + "Transfer-Encoding: " + secret + "\r\n\r\n", "not chunked alone"},
		{"two codings", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: " + secret + "\r\n\r\n", "not chunked alone"},
		{"a trailer that may not be", head + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n" + secret, "trailer that may not be one"},
		{"a head without an end", head + strings.Repeat("X: "+strings.Repeat("x", 1000)+secret+"\r\n", 12_000), "longer than 10 MiB"},
		{"no answer", "", "it has ended the connection"},
		{"an answer that ends in its status line", "HTTP/1.1 200", "the head of its answer ends in the middle"},
		{"an answer that ends in its version", "HTT", "the head of its answer ends in the middle"},
		{"an answer that ends behind its status line", head, "the head of its answer ends in the middle"},
		{"an answer that ends in a field's name", head + secret, "the head of its answer ends in the middle"},
		{"an answer that ends in a field's value", head + "X: " + secret, "the head of its answer ends in the middle: it has ended the connection"},
		{"an answer that ends behind a field", head + "X: " + secret + "\r\n", "the head of its answer ends in the middle"},

		{"a bad chunk size", chunked + secret + "\r\n", "a chunk of its answer is malformed"},
		{"an empty chunk size", chunked + "\r\n" + secret, "a chunk of its answer is malformed"},
		{"a chunk size that overflows", chunked + "11111111111111111\r\n" + secret, "a chunk of its answer is malformed"},
		{"no line break behind a chunk", chunked + "1\r\n" + secret, "a chunk of its answer is malformed"},
		{"a chunk line without CR", chunked + "1\n" + secret, "a chunk of its answer is malformed"},
		{"a chunk line with CR within", chunked + "1;\rx\r\n" + secret, "a chunk of its answer is malformed"},
		{"a chunk line that is too long", chunked + "1;" + strings.Repeat("x", 10_000) + secret, "too long"},
		{"chunks that are nearly all extension", chunked + strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\nx\r\n", 20) + secret, "a chunk of its answer is malformed"},
		{"an end within a chunk", chunked + "ff\r\n" + secret, "ends in the middle: it has ended the connection"},
		{"an end before the length", head + "Content-Length: 500\r\n\r\n" + secret, "ends in the middle: it has ended the connection"},
		{"an end within the trailer", chunked + "0\r\nX: " + secret, "ends in the middle: it has ended the connection"},
		{"an end within the name of a trailer", chunked + "0\r\n" + secret, "ends in the middle: it has ended the connection"},
		{"a trailer that is too long", chunked + "0\r\nX: " + strings.Repeat(secret, 1000) + "\r\n\r\n", "the trailer of its answer is malformed"},
		{"a trailer without a colon", chunked + "0\r\n" + secret + "\r\n\r\n", "no colon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer testnet.Accept(ln, func(c2 net.Conn) {
				b := make([]byte, 4)
				if _, err := io.ReadFull(c2, b); err != nil || string(b) != "GET " {
					return // not this: see TestLogNamesWhatIsSpoken
				}
				for tail := []byte{}; !bytes.HasSuffix(tail, []byte("\r\n\r\n")); {
					if _, err := c2.Read(b[:1]); err != nil {
						return
					}
					tail = append(tail, b[0])
				}
				io.WriteString(c2, c.answer)
			})()
			book := newLogBook()
			target := tcpTarget("http", ln.Addr())
			target.Logger = book.logger()
			v := serveTarget(t, target).visitor("http/1.1")
			fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", domain)
			b := make([]byte, len("HTTP/1.1 502"))
			io.ReadFull(v, b)
			begun := strings.HasPrefix(c.answer, chunked) || c.name == "an end before the length"
			if begun { // the fault of an answer that nobody waits for is not logged
				io.Copy(io.Discard, v)
			}
			v.Close()
			if begun == (string(b) == "HTTP/1.1 502") { // the answer is cut, or it is none
				t.Errorf("the visitor gets %q", b)
			}
			line := book.next(t)
			if !strings.Contains(line, c.want) || strings.Contains(line, secret) || !strings.Contains(line, "level=WARN") || !strings.Contains(line, "hint=") {
				t.Errorf("the log says %q, want %q", line, c.want)
			}
		})
	}
}

// What else than HTTP/1.1 a service speaks, and what to do then.
func TestLogNamesWhatIsSpoken(t *testing.T) {
	ca := testca.New(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue("localhost")}, NextProtos: []string{"h2"}}
	raw := func(serve func(net.Conn)) (net.Addr, func()) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln.Addr(), testnet.Accept(ln, serve)
	}
	overTLS := func(c net.Conn) { tls.Server(c, config).Handshake() }
	reset := func(c net.Conn) {
		io.ReadFull(c, make([]byte, 5))
		c.(*net.TCPConn).SetLinger(0)
	}
	says := func(text string) func(net.Conn) { // whatever it is asked
		return func(c net.Conn) {
			io.WriteString(c, text)
			io.Copy(io.Discard, c)
		}
	}
	answers := func(text string) func(net.Conn) { // what it is asked
		return func(c net.Conn) {
			c.Read(make([]byte, 1000))
			io.WriteString(c, text)
		}
	}
	const other, check = "gives a broken answer", "check the port in --local"
	for _, c := range []struct {
		name, scheme     string // of the target
		serve            func(net.Conn)
		what, want, hint string
	}{
		{"a TLS alert at http", "http", answers("\x15\x03\x01\x00\x02\x02\x0a"), other, "it speaks TLS there", "https+insecure://HOST"},
		{"TLS at h2c", "h2c", overTLS, other, "it speaks TLS there", "https+insecure://HOST"},
		{"SSH at http", "http", says("SSH-2.0-" + secret + "\r\n"), other, "it speaks SSH there", check},
		{"SSH at https", "https", says("SSH-2.0-" + secret + "\r\n"), "does not answer", "it speaks SSH there", check},
		{"SSH at h2c", "h2c", says("SSH-2.0-" + secret + "\r\n"), other, "it speaks SSH there", check},
		{"SMTP at http", "http", says("220 " + secret + " ESMTP\r\n"), other, "it speaks SMTP or FTP there", check},
		{"IMAP at http", "http", says("* OK [" + secret + "]\r\n"), other, "it speaks IMAP there", check},
		{"POP3 at http", "http", says("+OK " + secret + "\r\n"), other, "it speaks POP3 there", check},
		{"VNC at http", "http", says("RFB 003.008\n"), other, "it speaks VNC there", check},
		{"MySQL at http", "http", says("\x4a\x00\x00\x00\x0a8.0.36\x00" + secret), other, "it speaks MySQL there", check},
		{"Redis at http", "http", answers("-ERR unknown command '" + secret + "'\r\n"), other, "it speaks Redis there", check},
		{"Redis at http, which hangs up at a request", "http", func(c net.Conn) {
			line, _ := bufio.NewReader(c).ReadString('\n')
			if strings.HasPrefix(line, "PRI ") {
				io.WriteString(c, "-ERR unknown command 'PRI', with args beginning with: '*'\r\n")
			}
		}, "", "it speaks Redis there", "tcp://HOST"},
		{"an end at http", "http", func(c net.Conn) { bufio.NewReader(c).ReadString('\n') }, "does not answer", "it has ", "it may not speak HTTP: to publish it as it is, with TLS around it: --local tcp://HOST"},
		{"memcached at http", "http", answers("ERROR\r\n"), other, "it speaks memcached there", check},
		{"RTSP at http", "http", answers("RTSP/1.0 400 Bad Request\r\n\r\n"), other, "it speaks RTSP there", check},
		{"TLS at http", "http", overTLS, "", "it speaks TLS there", "https+insecure://HOST"},
		{"HTTP/2 at http, silent", "http", func(c net.Conn) {
			serveFrames(c, func(*http2.Framer, http2.Frame) bool { return true })
		}, "", "it speaks HTTP/2 alone there", "h2c://HOST"},
		{"HTTP/2 at http, with SETTINGS first", "http", func(c net.Conn) {
			http2.NewFramer(c, c).WriteSettings()
			serveFrames(c, func(*http2.Framer, http2.Frame) bool { return true })
		}, "", "it speaks HTTP/2 alone there", "h2c://HOST"},
		{"HTTP at https", "https", func(c net.Conn) {
			io.ReadFull(c, make([]byte, 5))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, "does not answer", "it does not speak TLS there", "http://HOST"},
		{"HTTP/1.1 at h2c", "h2c", func(c net.Conn) {
			io.ReadFull(c, make([]byte, 24))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			io.Copy(io.Discard, c)
		}, "gives a broken answer", "it does not speak HTTP/2 without TLS", "http://HOST"},
		{"an alert at https", "https", func(c net.Conn) {
			io.ReadFull(c, make([]byte, 5))
			c.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			io.Copy(io.Discard, c)
		}, "does not answer", "TLS handshake: it answers with the alert tls: handshake failure", "TLS 1.2 or 1.3"},
		{"a reset at http", "http", reset, "does not answer", "it has reset the connection", "curl -v"},
		{"a stream that is reset", "h2c", func(c net.Conn) {
			serveRawH2(c, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				fr.WriteRSTStream(h.StreamID, http2.ErrCodeEnhanceYourCalm)
				return true
			})
		}, "does not answer", "it has reset the HTTP/2 stream with ENHANCE_YOUR_CALM", "curl -v"},
		{"a broken rule of HTTP/2", "h2c", func(c net.Conn) {
			serveRawH2(c, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				fr.WriteRawFrame(http2.FrameHeaders, 0, 0, nil)
				return true
			})
		}, "does not answer", "it has broken a rule of HTTP/2", "curl -v"},
		{"GOAWAY and the end", "h2c", func(c net.Conn) {
			serveRawH2(c, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				fr.WriteGoAway(h.StreamID, http2.ErrCodeNo, []byte(secret))
				return false
			})
		}, "does not answer", "it has ended the HTTP/2 connection with GOAWAY", "curl -v"},
		{"status 99 over HTTP/2", "h2c", func(c net.Conn) {
			serveRawH2(c, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				h2Answer(fr, h.StreamID, "99", secret)
				return true
			})
		}, "gives a broken answer", "outside 100 to 999", "curl -v"},
		{"status 1000 over HTTP/2", "h2c", func(c net.Conn) {
			serveRawH2(c, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				h2Answer(fr, h.StreamID, "1000", "")
				return true
			})
		}, "gives a broken answer", "outside 100 to 999", "curl -v"},
		{"no number for a status over HTTP/2", "h2c", func(c net.Conn) {
			serveRawH2(c, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				h2Answer(fr, h.StreamID, secret, "")
				return true
			})
		}, "gives a broken answer", "head of its answer is malformed", "curl -v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, done := raw(c.serve)
			defer done()
			target := tcpTarget("http", addr)
			switch c.scheme {
			case "https":
				target = insecureTarget(addr)
			case "h2c":
				target.H2C = true
			}
			book := newLogBook()
			target.Logger = book.logger()
			if resp, text := get(t, serveTarget(t, target).client(false)); resp.StatusCode != 502 {
				t.Errorf("%s %q", resp.Status, text)
			}
			line := book.next(t)
			advice := strings.ReplaceAll(c.hint, "HOST", addr.String())
			if !strings.Contains(line, c.what) || !strings.Contains(line, c.want) || !strings.Contains(line, advice) || strings.Contains(line, secret) {
				t.Errorf("the log says %q, want %q and %q", line, c.want, advice)
			}
		})
	}
}

// Many servers of TLS answer HTTP with 400 in HTTP. The visitor gets that, as it
// is, and the log says what it means.
func TestAnswerOfATLSServerToPlainHTTPIsNamed(t *testing.T) {
	ca := testca.New(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue("localhost")}}
	const refused = "The plain HTTP request was sent to HTTPS port"
	for _, c := range []struct{ name, answer string }{
		{"as Go", "HTTP/1.0 400 Bad Request\r\n\r\n" + refused},
		{"as nginx", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: " + fmt.Sprint(len(refused)) + "\r\n\r\n" + refused},
		{"without a body", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
	} {
		for _, http2 := range []bool{false, true} {
			for _, isTLS := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, HTTP/2 %v, TLS %v", c.name, http2, isTLS), func(t *testing.T) {
					ln, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					probed := make(chan struct{}, 100)
					defer testnet.Accept(ln, func(conn net.Conn) {
						first := bufio.NewReader(conn)
						if b, _ := first.Peek(1); len(b) == 0 || b[0] != 22 {
							http.ReadRequest(first)
							io.WriteString(conn, c.answer)
							return
						}
						probed <- struct{}{}
						if isTLS {
							tls.Server(&readAhead{conn, first}, config).Handshake()
						}
					})()
					book := newLogBook()
					target := tcpTarget("http", ln.Addr())
					target.Logger = book.logger()
					client := serveTarget(t, target).client(http2)
					for range 3 {
						if resp, text := get(t, client); resp.StatusCode != 400 || !strings.HasSuffix(c.answer, "\r\n\r\n"+text) {
							t.Errorf("%s %q", resp.Status, text)
						}
					}
					if isTLS {
						line := book.next(t)
						if !strings.Contains(line, "it speaks TLS there") || !strings.Contains(line, "--local https://"+ln.Addr().String()) {
							t.Errorf("the log says %q", line)
						}
					}
					if len(probed) != 1 || len(book.lines) > 0 {
						t.Errorf("looked at %d times, and the log says %q", len(probed), book.lines)
					}
				})
			}
		}
	}
}

// A readAhead is a connection of which something was read already.
type readAhead struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (c *readAhead) Read(p []byte) (int, error) { return c.r.Read(p) }

// Why a service cannot be reached, as Check and the log say it.
func TestCheckSaysWhyAndWhatToDo(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	dir := t.TempDir()
	shut := filepath.Join(dir, "shut")
	ln, err := net.Listen("unix", shut)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	left := filepath.Join(dir, "left")
	was, err := net.ListenUnix("unix", &net.UnixAddr{Name: left})
	if err != nil {
		t.Fatal(err)
	}
	was.SetUnlinkOnClose(false)
	was.Close()
	unix := func(path string) *publish.Target {
		target := tcpTarget("http", gone.Addr())
		target.Network, target.Addresses = "unix", []string{path}
		return target
	}
	named := tcpTarget("http", gone.Addr())
	named.Addresses = []string{"no-such-host.invalid:80"}
	nowhere := tcpTarget("http", gone.Addr())
	nowhere.Addresses = nil
	cases := []struct {
		name       string
		target     *publish.Target
		want, hint string
	}{
		{"nothing listens", tcpTarget("http", gone.Addr()), "connection refused", "start it, or check the port in --local"},
		{"nothing listens, https", insecureTarget(gone.Addr()), "connection refused", "start it, or check the port in --local"},
		{"no socket", unix(filepath.Join(dir, "none")), "no such file or directory", "start it, or check the path in --local"},
		{"a socket whose server is gone", unix(left), "connection refused", "start it, or check the path in --local"},
		{"no address", nowhere, "the target has no address", ""},
		{"it answers", unix(shut), "", ""},
	}
	if os.Getuid() != 0 { // who may do everything
		os.Chmod(shut, 0)
		cases[4].want, cases[4].hint = "permission denied", "let this program's user read and write the socket"
	}
	for _, c := range cases {
		err := c.target.Check(t.Context(), domain)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case c.hint != "" && !strings.Contains(strings.Join(hint.All(err), "\n"), c.hint):
			t.Errorf("%s: hints %q, want %q", c.name, hint.All(err), c.hint)
		}
	}
}

// Many requests while the service is down are one line, and so is its return,
// with how many there were.
func TestLogTellsOnceThatTheServiceIsDown(t *testing.T) {
	addr := testnet.Reserve(t)
	book := newLogBook()
	target := tcpTarget("http", addr)
	target.Logger = book.logger()
	p := serveTarget(t, target)
	for range 30 {
		if resp, _ := get(t, p.client(false)); resp.StatusCode != 502 || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	if line := book.next(t); !strings.Contains(line, `level=WARN msg="the local service does not answer"`) ||
		!strings.Contains(line, "connection refused") || !strings.Contains(line, "start it") {
		t.Errorf("the log says %q", line)
	}
	ln, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	done := testnet.Accept(ln, func(c net.Conn) {
		c.Read(make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	defer done()
	get(t, p.client(false))
	if line := book.next(t); !strings.Contains(line, `level=INFO msg="the local service answers again"`) || !strings.Contains(line, "requests=30") {
		t.Errorf("the log says %q", line)
	}
}

// Watch says at the start that the service is down, without a visitor, and that
// it answers.
func TestWatchTellsThatTheServiceIsDownAndBack(t *testing.T) {
	addr := testnet.Reserve(t)
	book := newLogBook()
	target := tcpTarget("http", addr)
	target.Logger = book.logger()
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { target.Watch(ctx, domain) })
	defer wg.Wait()
	defer cancel()
	if line := book.next(t); !strings.Contains(line, "the local service does not answer") || !strings.Contains(line, "requests=0") {
		t.Errorf("the log says %q", line)
	}
	ln, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer testnet.Accept(ln, func(net.Conn) {})()
	if line := book.next(t); !strings.Contains(line, "answers again") {
		t.Errorf("the log says %q", line)
	}
}
