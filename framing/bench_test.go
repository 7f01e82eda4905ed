package framing_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"keystay/framing"
	"keystay/internal/budget"
)

// pairs are the links that the benchmarks run on.
var pairs = map[string]func(b *testing.B) (relay, remote *framing.Link){
	"memory": func(b *testing.B) (relay, remote *framing.Link) {
		relay, remote, _, _ = memLinks(b)
		return relay, remote
	},
	"tls": func(b *testing.B) (relay, remote *framing.Link) {
		relay, remote = tcpLinks(b, newTLSRig(b))
		framing.SetMemory(relay, budget.New(1<<30).Share()) // as at a relay
		return relay, remote
	},
}

// BenchmarkThroughput is a download: the remote sends, the relay takes.
func BenchmarkThroughput(b *testing.B) {
	for name, pair := range pairs {
		for _, n := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/streams=%d", name, n), func(b *testing.B) {
				relay, remote := pair(b)
				const size = 64 << 10
				b.SetBytes(size)
				b.ReportAllocs()
				var wg sync.WaitGroup
				each := b.N/n + 1
				buf := make([]byte, size)
				for range n {
					v, d := open(b, relay, remote, "")
					wg.Go(func() {
						for range each {
							d.Write(buf)
						}
						d.Close()
					})
					wg.Go(func() {
						got, err := v.WriteTo(io.Discard)
						if err != nil || got != int64(each)*size {
							b.Errorf("got %d bytes, %v", got, err)
						}
						v.Close()
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkPingPong is a small message and its answer.
func BenchmarkPingPong(b *testing.B) {
	for name, pair := range pairs {
		b.Run(name, func(b *testing.B) {
			relay, remote := pair(b)
			v, d := open(b, relay, remote, "")
			go func() {
				io.Copy(struct{ io.Writer }{d}, struct{ io.Reader }{d})
				d.Close()
			}()
			buf := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				v.Write(buf)
				if _, err := io.ReadFull(v, buf); err != nil {
					b.Fatal(err)
				}
			}
			v.Close()
		})
	}
}

// BenchmarkOpen is a visitor that comes, says a hello, gets an answer and goes.
func BenchmarkOpen(b *testing.B) {
	for name, pair := range pairs {
		b.Run(name, func(b *testing.B) {
			relay, remote := pair(b)
			go func() {
				buf := make([]byte, 1800)
				for {
					d, err := remote.Accept()
					if err != nil {
						return
					}
					io.ReadFull(d, buf)
					d.Write(buf)
					d.Close()
				}
			}()
			hello := make([]byte, 1800)
			buf := make([]byte, len(hello))
			b.ReportAllocs()
			for b.Loop() {
				v, err := relay.Open(header, hello)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(v, buf); err != nil {
					b.Fatal(err)
				}
				v.Close()
			}
		})
	}
}
