package testnet_test

import (
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTCPPairIsOneConnection(t *testing.T) {
	dialed, accepted := testnet.TCPPair(t)
	if dialed.LocalAddr().String() != accepted.RemoteAddr().String() {
		t.Fatalf("%v is not %v", dialed.LocalAddr(), accepted.RemoteAddr())
	}
	dialed.Write([]byte("x"))
	b := make([]byte, 2)
	if n, err := accepted.Read(b); n != 1 || b[0] != 'x' {
		t.Errorf("read %q, %v", b[:n], err)
	}
}

func TestAcceptServesUntilItsEnd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := testnet.Accept(ln, func(c net.Conn) {
		io.WriteString(c, "hello")
		io.Copy(io.Discard, c) // until somebody ends it
	})
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	end()
	end()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("after the end: %d bytes", n)
	}
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestServeClosesWhatWasServed(t *testing.T) {
	c, err := net.Dial("tcp", testnet.Serve(t, func(c net.Conn) { io.WriteString(c, "hello") }).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}
