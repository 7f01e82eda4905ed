package publish

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/memconn"
	"keystay/internal/testca"
)

// Behind an answer that came before the request's body, nothing that the visitor can wait for
// takes time, and what comes of the body after bodyTime is no request.
func TestAnswerBeforeTheBody(t *testing.T) {
	for _, c := range []struct {
		name, request, head, answer string
		status                      int
		ends                        bool // the connection does, at once
	}{
		{"length", "1.1\r\n", "2", "no", 200, false},
		{"nothing", "1.1\r\n", "0", "", 401, false},
		{"no content", "1.1\r\n", "", "", 204, false},
		{"not modified", "1.1\r\n", "", "", 304, false},
		{"chunked", "1.1\r\n", "", "no", 200, false},
		{"nothing without a length", "1.1\r\n", "", "", 303, false},
		{"last", "1.1\r\nConnection: close\r\n", "2", "no", 200, true},
		{"last, chunked", "1.1\r\nConnection: close\r\n", "", "no", 200, true},
		{"old", "1.0\r\n", "2", "no", 200, true},
		{"old, to the end", "1.0\r\n", "", "no", 200, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				x := newExchange(w, r)
				x.answer = &http.Response{StatusCode: c.status}
				http.NewResponseController(w).EnableFullDuplex()
				if c.head != "" {
					w.Header().Set("Content-Length", c.head)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.answer)
				(&visitorBody{ReadCloser: r.Body, x: x}).leave()
			})}
			ln := memconn.Listen(nil)
			go srv.Serve(ln)
			defer srv.Close()
			v, err := ln.DialFrom(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			begun := time.Now()
			io.WriteString(v, "POST / HTTP/"+c.request+"Host: xyz.relay.test\r\nContent-Length: 1000\r\n\r\n12345")
			in := bufio.NewReader(v)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(c.name, err)
			}
			if b, err := io.ReadAll(res.Body); err != nil || string(b) != c.answer {
				t.Errorf("%s: %q, %v", c.name, b, err)
			}
			if c.ends {
				io.ReadAll(in)
			}
			if took := time.Since(begun); took != 0 {
				t.Errorf("%s: it ends after %v", c.name, took)
			}
			time.Sleep(bodyTime + time.Second)
			io.WriteString(v, "GET / HTTP/1.1\r\nHost: xyz.relay.test\r\n\r\n")
			if rest, _ := io.ReadAll(in); len(rest) > 0 || requests != 1 {
				t.Errorf("%s: of %d requests, the last is answered with %q", c.name, requests, rest)
			}
		})
	}
}

// A connection ends in time also where the transport still reads the body for the service: as
// that is broken off, package net/http lifts the limit of what it reads behind the answer.
func TestConnectionEndsInTimeWhileTheBodyIsRead(t *testing.T) {
	ca := testca.New(t)
	for expect, most := range map[string]time.Duration{"": bodyTime, "Expect: 100-continue\r\n": restTime} {
		synctest.Test(t, func(t *testing.T) {
			srv := &http.Server{ConnContext: withConn, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).EnableFullDuplex()
				b := &visitorBody{ReadCloser: r.Body, x: newExchange(w, r)}
				go io.Copy(io.Discard, b)
				synctest.Wait()
				b.leave()
			})}
			below, above := memconn.Pipe(0)
			tc := tls.Server(above, &tls.Config{Certificates: []tls.Certificate{ca.Issue("xyz.relay.test")}})
			go tc.Handshake()
			v := tls.Client(below, &tls.Config{RootCAs: ca.Pool(), ServerName: "xyz.relay.test"})
			if err := v.Handshake(); err != nil {
				t.Fatal(err)
			}
			ln := one{memconn.Listen(nil), make(chan net.Conn, 1)}
			ln.c <- tc
			go srv.Serve(Visitors(ln))
			begun := time.Now()
			io.WriteString(v, "POST / HTTP/1.1\r\nHost: xyz.relay.test\r\n"+expect+"Content-Length: 1000\r\n\r\n12345")
			io.ReadAll(v)
			if took := time.Since(begun); took > most {
				t.Errorf("%q: it ends after %v", expect, took)
			}
			v.Close()
			close(ln.c)
			srv.Close()
			time.Sleep(time.Second) // the server waits, too, before it closes
		})
	}
}

// A oneReader is a body that only one goroutine may read at a time. It ends with a trailer.
type oneReader struct {
	t       *testing.T
	readers atomic.Int32
	begun   chan struct{}
	proceed chan struct{}
	trailer http.Header
}

func (r *oneReader) Read(p []byte) (int, error) {
	if r.readers.Add(1) > 1 {
		r.t.Error("two goroutines read it")
	}
	defer r.readers.Add(-1)
	r.begun <- struct{}{}
	<-r.proceed
	r.trailer.Set("X-Ssl-Cert", "from a visitor")
	r.trailer.Set("X-Sum", "42")
	return 0, io.EOF
}

func (r *oneReader) Close() error { return nil }

// What is left of a body behind an early answer is read by one goroutine at a time, although
// the transport still reads it for the service. Both see its end, with no trailer that only a
// front may say.
func TestRestOfABodyIsReadByOneAtATime(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Trailer = make(http.Header)
	in := &oneReader{t: t, begun: make(chan struct{}, 2), proceed: make(chan struct{}), trailer: r.Trailer}
	b := &visitorBody{ReadCloser: in, x: newExchange(w, r)}
	whole := make(chan bool, 2)
	go func() {
		n, err := b.Read(make([]byte, 10)) // the transport
		whole <- n == 0 && err == io.EOF && len(r.Trailer) == 1
	}()
	<-in.begun
	go func() { whole <- b.takeRest(http.NewResponseController(w)) && len(r.Trailer) == 1 }()
	for range 1000 {
		runtime.Gosched() // it would read, too
	}
	close(in.proceed)
	for range 2 {
		if !<-whole {
			t.Errorf("it did not end with its trailer; that is %v", r.Trailer)
		}
	}
}
