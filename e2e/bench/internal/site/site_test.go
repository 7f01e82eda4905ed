package site

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"keystay/internal/testca"
)

func TestVisits(t *testing.T) {
	ca := testca.New(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue("site.test")}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go Serve(ln)
	dials := 0
	door := Door{Address: ln.Addr().String(), Name: "site.test", Roots: ca.Pool(),
		Dial: func(network, address string) (net.Conn, error) { dials++; return net.Dial(network, address) }}
	v, err := door.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, n := range []int64{1, 256, 1 << 10, 1<<10 + 1, chunk, 1<<20 + 3} {
		if err := v.Get(n); err != nil {
			t.Errorf("get %d: %v", n, err)
		}
		if err := v.Put(n); err != nil {
			t.Errorf("put %d: %v", n, err)
		}
	}
	if dials != 1 {
		t.Errorf("%d dials", dials)
	}
	for _, endless := range []func(*Visitor, *atomic.Int64) error{(*Visitor).Download, (*Visitor).Upload} {
		v, err := door.Open()
		if err != nil {
			t.Fatal(err)
		}
		var count atomic.Int64
		ended := make(chan error)
		go func() { ended <- endless(v, &count) }()
		for count.Load() < 1<<20 {
			select {
			case err := <-ended:
				t.Fatalf("ended after %d bytes: %v", count.Load(), err)
			default:
			}
		}
		v.Close()
		<-ended
	}
}

// The web site gives what its path says to visitors who ask over HTTP.
func TestWebVisits(t *testing.T) {
	ca := testca.New(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue("site.test")}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(Web)}
	defer srv.Close()
	go srv.Serve(ln)
	door := Door{Address: ln.Addr().String(), Name: "site.test", Roots: ca.Pool(), Web: true}
	v, err := door.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, n := range []int64{1, 256, 1<<10 + 1, 1<<20 + 3, 256} {
		if err := v.Get(n); err != nil {
			t.Errorf("get %d: %v", n, err)
		}
	}
	if err := v.Get(-1); err == nil {
		t.Error("an error of the site is taken for an answer")
	}
}
