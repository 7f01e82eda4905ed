package duplex_test

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"keystay/internal/duplex"
)

// childEnv holds, in the child process of TestDeathOfTheProcess, the two
// addresses between which it copies.
const childEnv = "KEYSTAY_TEST_DUPLEX_CHILD"

func child(addrs string) {
	var conns []duplex.Conn
	for addr := range strings.SplitSeq(addrs, ",") {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			panic(err)
		}
		conns = append(conns, c.(*net.TCPConn))
	}
	duplex.Copy(conns[0], conns[1], duplex.Options{})
}

func TestDeathOfTheProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a kernel does with the sockets of a killed process is known only for Linux")
	}
	var addrs []string
	var listeners []*net.TCPListener
	for range 2 {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ln.SetDeadline(time.Now().Add(patience))
		listeners = append(listeners, ln)
		addrs = append(addrs, ln.Addr().String())
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(addrs, ","))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()

	var ends []net.Conn
	for _, ln := range listeners {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		ends = append(ends, c)
	}
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for {
			if _, err := ends[0].Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}()
	send(t, ends[1], 10)
	receive(t, ends[0], 10)
	receive(t, ends[1], 8<<20)
	cmd.Process.Kill()
	seesReset(t, ends[1])
	<-sending
}
