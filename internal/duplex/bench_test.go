package duplex_test

import (
	"io"
	"net"
	"testing"

	"keystay/internal/duplex"
)

func BenchmarkCopy(b *testing.B) {
	for path, way := range paths {
		b.Run(path, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			pair := func() (far, near *net.TCPConn) {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				s, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				return c.(*net.TCPConn), s.(*net.TCPConn)
			}
			farA, nearA := pair()
			farB, nearB := pair()
			done := make(chan duplex.Result)
			go func() { done <- duplex.Copy(way.a(nearA), way.b(nearB), duplex.Options{}) }()
			go func() {
				io.Copy(io.Discard, farB)
				farB.Close()
			}()
			piece := make([]byte, 1<<20)
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				farA.Write(piece)
			}
			farA.Close()
			<-done
		})
	}
}
