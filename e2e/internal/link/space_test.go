//go:build linux

package link

import (
	"errors"
	"net"
	"testing"
)

// A space that is closed lets nobody in any more, and is closed only once all are out: the
// number of its file may be another file's then.
func TestNobodyIsInASpaceThatIsClosed(t *testing.T) {
	s := newSpace(t)
	in, out := make(chan struct{}), make(chan struct{})
	left := make(chan error, 1)
	go func() {
		left <- s.Do(func() error {
			close(in)
			<-out
			return nil
		})
	}()
	<-in
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	for err := error(nil); !errors.Is(err, net.ErrClosed); err = s.Do(func() error { return nil }) {
	}
	select {
	case <-closed:
		t.Error("it is closed while somebody is in")
	default:
	}
	close(out)
	if err := <-left; err != nil {
		t.Error(err)
	}
	<-closed
}
