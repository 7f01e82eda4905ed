package publish_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"

	"keystay/internal/memconn"
)

// An answer that breaks off never looks complete, in whatever way its length is
// told: not even in HTTP/1.0, where the end of the connection is the end.
func TestTruncatedAnswerNeverLooksComplete(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"reset":   "HTTP/1.0 200 OK\r\n\r\npart",
	} {
		received := make(chan struct{}, 1)
		p := serveTarget(t, tcpTarget("http", rawService(t, func(c *net.TCPConn) {
			io.WriteString(c, head)
			<-received
			if name == "reset" {
				c.SetLinger(0)
			}
		})))
		for _, version := range []string{"1.0", "1.1"} {
			t.Run(name+" to "+version, func(t *testing.T) {
				v := p.visitor("http/1.1")
				fmt.Fprintf(v, "GET / HTTP/%s\r\nHost: %s\r\n\r\n", version, domain)
				br := bufio.NewReader(v)
				for line := ""; line != "part" && line != "part\r\n"; {
					b, err := br.Peek(1)
					if err != nil {
						t.Fatalf("after %q: %v %q", line, err, b)
					}
					if b[0] == 'p' {
						break
					}
					line, _ = br.ReadString('\n')
				}
				received <- struct{}{}
				if b, err := io.ReadAll(br); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("got %q and then %v, want a reset", b, err)
				}
			})
		}
		t.Run(name+" to 2", func(t *testing.T) {
			resp, err := p.client(true).Get("https://" + domain)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			io.ReadFull(resp.Body, make([]byte, 4))
			received <- struct{}{}
			if b, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("got %q and a good end", b)
			}
		})
	}
}

// An upload that breaks off never looks complete to the service.
func TestTruncatedUploadNeverLooksComplete(t *testing.T) {
	type result struct {
		n   int
		err error
	}
	started, results := make(chan struct{}, 1), make(chan result, 1)
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 4)
		io.ReadFull(r.Body, b)
		started <- struct{}{}
		rest, err := io.ReadAll(r.Body)
		results <- result{len(rest), err}
	})
	for name, cut := range map[string]func(*tls.Conn){
		"reset":      func(v *tls.Conn) { v.NetConn().(*memconn.Conn).Reset() },
		"end of TCP": func(v *tls.Conn) { v.NetConn().(*memconn.Conn).CloseWrite() },
		"end of TLS": func(v *tls.Conn) { v.CloseWrite() },
	} {
		for _, head := range []string{"Content-Length: 100\r\n\r\npart", "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"} {
			v := p.visitor("http/1.1")
			fmt.Fprintf(v, "POST / HTTP/1.1\r\nHost: %s\r\n%s", domain, head)
			<-started
			cut(v)
			if res := <-results; res.err == nil {
				t.Errorf("%s, %.8s: the service saw a good end after %d bytes", name, head, res.n)
			}
		}
	}
}

// A visitor that has ended its side still gets its answer.
func TestHalfClosedRequest(t *testing.T) {
	ended := make(chan struct{})
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		<-ended
		fmt.Fprint(w, "answer")
		if err := r.Context().Err(); err != nil {
			t.Errorf("the request was given up: %v", err)
		}
	})
	v := p.visitor("http/1.1")
	fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", domain)
	v.CloseWrite()
	close(ended)
	resp, err := http.ReadResponse(bufio.NewReader(v), nil)
	if text := body(t, resp, err); text != "answer" {
		t.Errorf("got %q", text)
	}
}

// A request is given up at the service when its visitor is gone.
func TestRequestIsGivenUpWhenItsVisitorIsGone(t *testing.T) {
	started, gone := make(chan struct{}), make(chan struct{})
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	v := p.visitor("http/1.1")
	fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", domain)
	<-started
	v.NetConn().(*memconn.Conn).Reset()
	<-gone
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://"+domain, nil)
	if _, err := p.client(true).Do(req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-gone
}
