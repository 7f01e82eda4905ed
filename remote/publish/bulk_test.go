package publish_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"keystay/remote/publish"
)

// numbers are n bytes of which no two pieces are alike.
func numbers(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = strconv.AppendInt(b, int64(i), 10)
	}
	return b[:n]
}

// An answer in bulk arrives whole and with its trailer, with a length and without one,
// in large pieces, or in small ones where there is no memory.
func TestBulkArrivesWhole(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		} else {
			w.Header().Set("Trailer", "Sum")
		}
		w.Write(numbers(n))
		w.Header().Set("Sum", strconv.Itoa(n))
	}))
	t.Cleanup(service.Close)
	for name, memory := range map[string]int64{"with memory": 0, "without": publish.RequestCost + 16<<10} {
		t.Run(name, func(t *testing.T) {
			target := tcpTarget("http", service.Listener.Addr())
			target.Memory = memory
			corks := make(chan *cork, 8)
			srv := target.Server(domain)
			connContext := srv.ConnContext
			srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				below := c.(interface{ NetConn() net.Conn }).NetConn()
				corks <- below.(stream).cork
				return connContext(ctx, c)
			}
			client := serve(t, srv).client(false)
			for _, path := range []string{"/length", "/chunked"} {
				for _, n := range []int{publish.BulkAfter - 1, publish.BulkAfter, publish.BulkAfter + 1, 4 << 20} {
					resp, err := client.Get("https://" + domain + path + "?n=" + strconv.Itoa(n))
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || !bytes.Equal(got, numbers(n)) {
						t.Errorf("%s: %d bytes of %d: %v", path, len(got), n, err)
					}
					if sum := resp.Trailer.Get("Sum"); path == "/chunked" && sum != strconv.Itoa(n) {
						t.Errorf("%s: the trailer is %q", path, sum)
					}
				}
			}
			k := <-corks
			k.mu.Lock()
			defer k.mu.Unlock()
			if (k.most > publish.BulkPiece) != (memory == 0) {
				t.Errorf("%d bytes have gone at once", k.most)
			}
			if used := publish.RequestMemory(target).Used(); used > publish.RequestCost {
				t.Errorf("%d bytes of memory are still taken", used)
			}
		})
	}
}

// What the service sends behind a lot does not wait for more, and a break is one.
func TestBulkWaitsForNothing(t *testing.T) {
	next := make(chan struct{})
	var cut atomic.Bool
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(numbers(2 * publish.BulkAfter))
		for range next {
			io.WriteString(w, "ping")
			http.NewResponseController(w).Flush()
		}
		cut.Store(true)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(service.Close)
	resp, err := serveTarget(t, tcpTarget("http", service.Listener.Addr())).client(false).Get("https://" + domain)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 2*publish.BulkAfter); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		next <- struct{}{}
		ping := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, ping); err != nil || string(ping) != "ping" {
			t.Fatalf("%q, %v", ping, err)
		}
	}
	close(next)
	if b, err := io.ReadAll(resp.Body); err == nil || !cut.Load() {
		t.Errorf("the answer of a service that broke off looks whole: %d bytes more", len(b))
	}
}
