package remote_test

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"keystay/framing"
	"keystay/remote"
)

// A visitor whose handshake a shutdown has cut sees a reset: its own side of the
// handshake may be over, and an end in good order would be an empty answer.
func TestShutdownCutsHandshakes(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	s := r.next().open(domain, framing.KindTLS)
	if _, err := s.Write([]byte{22, 3, 1, 1, 0}); err != nil { // a ClientHello that does not come
		t.Fatal(err)
	}
	remote.EndLate(ln) // as a shutdown does, which then ends the link too
	if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor sees %v, want a reset", err)
	}
}
