package httpdrain_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/httpdrain"
	"keystay/internal/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	srv := httpdrain.New(&http.Server{Handler: http.NotFoundHandler()})
	served := make(chan error)
	go func() { served <- srv.Serve(ln) }()
	ln.Close()
	<-served // no more connections are accepted
	fmt.Println(srv.Shutdown(context.Background()))
	// Output: <nil>
}

// A connection that was accepted before Shutdown has its request answered,
// though that comes after.
func TestFirstRequestIsAnswered(t *testing.T) {
	ca := testca.New(t)
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			cert := ca.Issue("xyz.relay.test")
			ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{proto}})
			if err != nil {
				t.Fatal(err)
			}
			srv := httpdrain.New(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })})
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ln) }()
			dialled, proceed := make(chan struct{}), make(chan struct{})
			tr := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				d := tls.Dialer{Config: &tls.Config{ServerName: "xyz.relay.test", RootCAs: ca.Pool(), NextProtos: []string{proto}}}
				c, err := d.DialContext(ctx, network, ln.Addr().String())
				close(dialled)
				<-proceed // the request is late
				return c, err
			}}
			defer tr.CloseIdleConnections()
			got := make(chan error, 1)
			go func() {
				req, _ := http.NewRequest("GET", "https://xyz.relay.test/", nil)
				resp, err := tr.RoundTrip(req)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				got <- err
			}()
			<-dialled
			ln.Close()
			<-served
			over := make(chan error, 1)
			go func() { over <- srv.Shutdown(context.Background()) }()
			close(proceed)
			if err := <-got; err != nil {
				t.Error(err)
			}
			if err := <-over; err != nil {
				t.Error(err)
			}
		})
	}
}

// A connection that never asks keeps the server for FirstRequestTimeout, or as
// long as ctx.
func TestSilentConnectionIsWaitedForSoLong(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	srv := httpdrain.New(&http.Server{ConnContext: func(ctx context.Context, _ net.Conn) context.Context { close(accepted); return ctx }})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-accepted
	ln.Close()
	<-served
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), httpdrain.FirstRequestTimeout+100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) < httpdrain.FirstRequestTimeout {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	srv.Close()
}

// slowListener gives out connections that were accepted some time before.
type slowListener struct {
	net.Listener
	asked  chan struct{} // gets something for each Accept that begins
	conns  chan net.Conn
	closed context.Context
	end    context.CancelFunc
}

func (l slowListener) Accept() (net.Conn, error) {
	l.asked <- struct{}{}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
}

func (l slowListener) Close() error {
	l.end()
	return l.Listener.Close()
}

// A connection on its way to Serve is waited for once it was told of.
func TestExpectedConnectionIsServed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	visitor, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer visitor.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	srv := httpdrain.New(&http.Server{Handler: http.NotFoundHandler()})
	closed, end := context.WithCancel(context.Background())
	slow := slowListener{ln, make(chan struct{}, 2), make(chan net.Conn), closed, end} // one Accept for c, one after it
	served, down := make(chan error, 1), make(chan error, 1)
	go func() { served <- srv.Serve(slow) }()
	<-slow.asked // a Serve that begins after Shutdown would take nothing
	srv.Expect(c)
	go func() { down <- srv.Shutdown(context.Background()) }()
	select {
	case <-down:
		t.Error("nothing was waited for")
	case slow.conns <- c:
	}
	fmt.Fprint(visitor, "GET / HTTP/1.0\r\n\r\n")
	if answer, err := io.ReadAll(visitor); err != nil || len(answer) == 0 {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	<-served
}

// A server's own ConnState goes on hearing of connections.
func TestOwnConnStateIsCalled(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan http.ConnState, 10)
	srv := httpdrain.New(&http.Server{Handler: http.NotFoundHandler(), ConnState: func(_ net.Conn, s http.ConnState) { states <- s }})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if s := <-states; s != http.StateNew {
		t.Errorf("heard of %v, want new", s)
	}
	c.Close()
	if s := <-states; s != http.StateClosed {
		t.Errorf("heard of %v, want closed", s)
	}
	srv.Close()
	<-served
}
