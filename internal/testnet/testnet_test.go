package testnet_test

import (
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
