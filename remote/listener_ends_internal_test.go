package remote

import (
	"context"
	"crypto/tls"
	"testing"

	"keystay/internal/memconn"
	"keystay/internal/testca"
)

// BenchmarkEnds measures what a visitor's handshake costs more: nothing to speak of while
// no probe is on its way, and one export while one is.
func BenchmarkEnds(b *testing.B) {
	ca := testca.New(b)
	x, y := memconn.Pipe(1 << 16)
	defer x.Close()
	defer y.Close()
	client := tls.Client(x, &tls.Config{ServerName: "xyz.relay.test", RootCAs: ca.Pool()})
	server := tls.Server(y, &tls.Config{Certificates: []tls.Certificate{ca.Issue("xyz.relay.test")}})
	done := make(chan error, 1)
	go func() { done <- client.HandshakeContext(context.Background()) }()
	if err := server.HandshakeContext(context.Background()); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	for name, probes := range map[string]int{"none": 0, "one": 1} {
		b.Run(name, func(b *testing.B) {
			l := new(Listener)
			for range probes {
				defer l.NoteEnds().Close()
			}
			for b.Loop() {
				l.ends.begin()(server)
			}
		})
	}
}
