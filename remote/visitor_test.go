package remote_test

import (
	"context"
	"io"
	"testing"

	"keystay/framing"
)

// A visitor whose handshake a shutdown has cut sees no good end: its own side of the
// handshake may be over, and an end in good order would be an empty answer.
func TestShutdownCutsHandshakes(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	s := r.next().open(domain, framing.KindTLS)
	if _, err := s.Write([]byte{22, 3, 1, 1, 0}); err != nil { // a ClientHello that does not come
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	go ln.Shutdown(ctx)
	if _, err := io.ReadAll(s); err == nil {
		t.Error("the visitor sees an end in good order")
	}
	ln.Shutdown(ctx)
}
