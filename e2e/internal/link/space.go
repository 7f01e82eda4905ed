//go:build linux

package link

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Space is a network namespace without a name: it is gone when the last
// process in it has ended and the Space is closed. A nil Space is that of this
// process.
type Space struct {
	ns, home *os.File

	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup // calls of Do that have not returned
}

// own names the network namespace of the thread that opens it.
const own = "/proc/thread-self/ns/net"

// NewSpace makes a namespace whose loopback is up. It takes root. The caller
// closes it.
func NewSpace() (*Space, error) {
	home, err := os.Open(own)
	if err != nil {
		return nil, err
	}
	s := &Space{home: home}
	err = s.locked(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if s.ns, err = os.Open(own); err != nil {
			return err
		}
		return raise("lo")
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// locked runs f on a thread of its own for the time, and brings the thread back
// home.
func (s *Space) locked(f func() error) error {
	runtime.LockOSThread()
	err := f()
	if back := unix.Setns(int(s.home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with its goroutine.
		return fmt.Errorf("leave a network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// Close lets go of the namespace, once what Do runs there has returned.
func (s *Space) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.inside.Wait()
	s.home.Close()
	if s.ns != nil {
		s.ns.Close()
	}
}

// Do runs f in the namespace. Sockets that f makes, and programs that it
// starts, stay there. What f starts as goroutines does not. After Close the error is
// [net.ErrClosed]: a file's number may be another file's by then.
func (s *Space) Do(f func() error) error {
	if s == nil {
		return f()
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("enter a network namespace: %w", net.ErrClosed)
	}
	s.inside.Add(1)
	s.mu.Unlock()
	defer s.inside.Done()
	return s.locked(func() error {
		if err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// dialTime bounds Dial.
const dialTime = 20 * time.Second

// Dial is net.Dial in the namespace, for an address with a number as its host.
func (s *Space) Dial(network, address string) (c net.Conn, err error) {
	return s.DialContext(context.Background(), network, address)
}

// DialContext is Dial that ends with ctx.
func (s *Space) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = s.Do(func() (err error) {
		// A literal address is dialled in this goroutine, so on this thread.
		d := net.Dialer{Timeout: dialTime}
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Set sets a parameter of the namespace's network, such as
// "ipv4/tcp_congestion_control".
func (s *Space) Set(name, value string) error {
	return s.Do(func() error {
		return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o600)
	})
}

// HasCongestionControl reports whether TCP can use the algorithm here.
func HasCongestionControl(name string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return false
	}
	for _, have := range strings.Fields(string(b)) {
		if have == name {
			return true
		}
	}
	return false
}
