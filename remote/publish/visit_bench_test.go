package publish_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A new visitor pays a dial of the service, since it gets no connection of
// another one: a visitor's connection with its handshake and one request.
func BenchmarkNewVisitor(b *testing.B) {
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") }))
	defer local.Close()
	p := serveTarget(b, tcpTarget("http", local.Listener.Addr()))
	b.ReportAllocs()
	for b.Loop() {
		v := p.visitor("http/1.1")
		fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", domain)
		resp, err := http.ReadResponse(bufio.NewReader(v), nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		v.Close()
	}
}
