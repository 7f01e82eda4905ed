package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	"keystay/e2e/internal/world"

	"github.com/rogpeppe/go-internal/testscript"
)

// A site is the local service of a story: it knows nothing of TLS, says in its
// log what came of each request, and can be told to misbehave.
type site struct {
	addr string // reserved
	log  world.Transcript

	mu      sync.Mutex
	srv     *http.Server
	bird    net.Listener
	release chan struct{} // closed when held answers may go on
	arrived int64         // bytes of uploads
	changed chan struct{} // closed when arrived has grown
	seen    chan struct{} // confirmations of events
}

// siteCommand is the command
//
//	site start     serve HTTP
//	site unix      the same on a unix socket, $WORK/site.sock
//	site tls       the same over TLS, with a certificate that nobody trusts
//	site parrot    repeat what is said, which is no HTTP
//	site stop
//	site release   let the answers go on that are held
func siteCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: site start|unix|tls|parrot|stop|release")
	}
	s := &settingOf(ts).site
	switch args[0] {
	case "start":
		ln, err := net.Listen("tcp", s.addr)
		ts.Check(err)
		s.serve(ln)
	case "unix":
		ln, err := net.Listen("unix", ts.MkAbs("site.sock"))
		ts.Check(err)
		s.serve(ln)
	case "tls":
		ln, err := net.Listen("tcp", s.addr)
		ts.Check(err)
		s.serve(tls.NewListener(ln, untrusted()))
	case "parrot":
		ts.Check(s.parrot())
	case "stop":
		s.stop()
	case "release":
		s.mu.Lock()
		close(s.release)
		s.release = make(chan struct{})
		s.mu.Unlock()
	default:
		ts.Fatalf("the site cannot %s", args[0])
	}
}

// untrusted returns a server's configuration that has net/http's own test
// certificate, and HTTP/2.
func untrusted() *tls.Config {
	srv := httptest.NewUnstartedServer(nil)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	return srv.TLS
}

// serve serves the site on ln.
func (s *site) serve(ln net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello from the device\n") })
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/echo/", echo)
	mux.HandleFunc("/upload", s.upload)
	mux.HandleFunc("/arrived", s.waitArrived)
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/download", download)
	mux.HandleFunc("/trailer", trailer)
	mux.HandleFunc("/hold", s.hold)
	mux.HandleFunc("/die", s.die)
	mux.HandleFunc("/switch", s.switched)
	mux.HandleFunc("/events", s.events)
	mux.HandleFunc("/seen", func(w http.ResponseWriter, r *http.Request) { s.seen <- struct{}{} })
	mux.HandleFunc("/websocket", serveWebSocket)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release, s.changed, s.seen = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	s.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(&s.log, "%s %s\n", r.Method, r.URL.Path)
		mux.ServeHTTP(w, r)
	}), ReadHeaderTimeout: world.Patience}
	go s.srv.Serve(ln)
}

// parrot sends the first bytes of each connection back.
func (s *site) parrot() error {
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bird = ln
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4<<10)
				n, _ := c.Read(buf)
				c.Write(buf[:n])
			}()
		}
	}()
	return nil
}

// stop ends the site and cuts what is open.
func (s *site) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		s.srv.Close()
		s.srv = nil
	}
	if s.bird != nil {
		s.bird.Close()
		s.bird = nil
	}
}
