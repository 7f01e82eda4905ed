package raw_test

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"

	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish/raw"
)

// served is a target behind TLS over TCP, and what dials it.
func served(b *testing.B, serve func(*net.TCPConn)) (*raw.Target, func() *tls.Conn) {
	ca := testca.New(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	target := tcpTarget(b, serve)
	target.Addresses = []string{testnet.Serve(b, func(c net.Conn) { serve(c.(*net.TCPConn)) }).String()} // without a deadline
	go target.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{ca.Issue(domain)}}))
	b.Cleanup(func() { target.Close() })
	config := &tls.Config{RootCAs: ca.Pool(), ServerName: domain}
	return target, func() *tls.Conn {
		c, err := tls.Dial("tcp", ln.Addr().String(), config)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
}

// BenchmarkDownload is how fast a service's bytes get to a visitor.
func BenchmarkDownload(b *testing.B) {
	piece := make([]byte, 64<<10)
	_, dial := served(b, func(c *net.TCPConn) {
		for {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
	})
	c := dial()
	defer c.Close()
	buf := make([]byte, len(piece))
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVisit is a visitor who comes, asks once and leaves.
func BenchmarkVisit(b *testing.B) {
	_, dial := served(b, func(c *net.TCPConn) { io.Copy(c, c) })
	for b.Loop() {
		c := dial()
		io.WriteString(c, "hello")
		io.ReadFull(c, make([]byte, 5))
		c.Close()
	}
}

// BenchmarkIdle is what a visitor costs who says nothing: B/visitor are of both ends
// of its TLS, and of the service.
func BenchmarkIdle(b *testing.B) {
	target, dial := served(b, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	target.MaxVisitors = 1 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		defer dial().Close()
		n++
	}
	eventually(b, "there", func() bool { return target.Visitors() >= n })
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/float64(n), "B/visitor")
}
