package relay_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"keystay/internal/testnet"
	"keystay/relay"
)

// The body of a request to the operator's server has as many lines as it has.
func TestPort80PassesBodiesOfManyLinesOn(t *testing.T) {
	got := make(chan int, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- strings.Count(string(b), "\n")
	}))
	defer web.Close()
	tlsServer, _ := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Static: []relay.Fixed{{Name: "web.relay.test", To: tlsServer, HTTP: web.Listener.Addr().String()}}})
	})
	_, addr := r.plain()
	for _, lines := range []int{3, 1000} {
		body := strings.Repeat("x\n", lines)
		req, _ := http.NewRequest("POST", "http://"+addr+"/", strings.NewReader(body))
		req.Host, req.Close = "web.relay.test", true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if n := <-got; n != lines || resp.StatusCode != 200 {
			t.Errorf("%d of %d lines arrive, %s", n, lines, resp.Status)
		}
	}
}

// What comes behind a body that is passed on is the next request, and has no more lines than
// any: a body leaves no way in for more, which would make the relay hold what it does not count.
func TestPort80CountsTheLinesBehindABody(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, strconv.Itoa(len(r.Header)))
	}))
	defer web.Close()
	tlsServer, _ := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Static: []relay.Fixed{{Name: "web.relay.test", To: tlsServer, HTTP: web.Listener.Addr().String()}}})
	})
	_, addr := r.plain()
	var fields strings.Builder
	for i := range 900 {
		fmt.Fprintf(&fields, "%x:\n", i)
	}
	const head = "POST / HTTP/1.1\r\nHost: web.relay.test\r\n"
	for _, v := range []struct{ head, body string }{
		{"Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n"},
		{"Content-Length: 1\r\n", "x"},
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, head+"Expect: 100-continue\r\n"+v.head+"\r\n")
		in := bufio.NewReader(c)
		if line, err := in.ReadString('\n'); !strings.Contains(line, " 100 ") { // the body is passed on now
			t.Fatalf("%q, %v", line, err)
		}
		in.ReadString('\n')
		io.WriteString(c, v.body+"GET / HTTP/1.1\r\nHost: web.relay.test\r\n"+fields.String()+"\r\n")
		for n := 0; ; n++ {
			resp, err := http.ReadResponse(in, nil)
			if err == nil && resp.StatusCode == 100 { // of the server, too
				n--
				continue
			}
			if n == 0 && (err != nil || resp.StatusCode != 200) {
				t.Fatalf("%s: %v, %v", v.head, resp, err)
			}
			if err != nil {
				break
			}
			b, _ := io.ReadAll(resp.Body)
			if n == 1 && resp.StatusCode == 200 {
				t.Errorf("%s: a request with %s fields is served behind it", v.head, b)
				break
			}
		}
		c.Close()
	}
}

// The trailers behind a body, which are not passed on, are not kept until the answer has ended:
// they would take more than all that a request is counted with.
func TestPort80KeepsNoTrailers(t *testing.T) {
	ln := listenTCP(t)
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nand more")
			<-t.Context().Done()
		}
	}))
	tlsServer, _ := own(t)
	r := newRig(t, func(s *relay.Server) {
		s.SetFront(relay.Front{Static: []relay.Fixed{{Name: "web.relay.test", To: tlsServer, HTTP: ln.Addr().String()}}})
	})
	_, addr := r.plain()
	var trailers strings.Builder
	for i := 0; trailers.Len() < 4<<10-64; i++ {
		fmt.Fprintf(&trailers, "%x:\n", i)
	}
	takes := func(head, trailers string) int64 {
		return heapOfVisitors(t, addr, 16, "POST / HTTP/1.1\r\nHost: web.relay.test\r\nTransfer-Encoding: chunked\r\n"+head+"\r\n1\r\nx\r\n0\r\n"+trailers+"Z:\r\n\r\n", " 200 ")
	}
	takes("", "") // what is made once
	without := takes("", "")
	for _, head := range []string{"", "Trailer: 0, 1, 2\r\n"} {
		if with := takes(head, trailers.String()); with > without+32<<10 {
			t.Errorf("%q: with trailers a request takes %d KiB, without %d KiB", head, with>>10, without>>10)
		}
	}
}

// heapOfVisitors has visitors connect to addr, ask and get a first line with a status, and
// returns how many bytes of heap each takes in this process. They stay until the test's end:
// what they gave back would be counted as less for the next ones.
func heapOfVisitors(t *testing.T, addr string, visitors int, request, status string) int64 {
	t.Helper()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range visitors {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, request)
		if line, err := bufio.NewReaderSize(c, 16).ReadString('\n'); !strings.Contains(line, status) {
			t.Fatalf("%q, %v", line, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	return int64(now.HeapAlloc-before.HeapAlloc) / int64(visitors)
}
