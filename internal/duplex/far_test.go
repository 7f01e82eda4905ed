package duplex_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// farEnv makes the process of a benchmark's child the far ends of pairs of
// connections, so that what is measured here is the copying alone. It holds
// two addresses, how many pairs, and how many bytes each carries.
const farEnv = "KEYSTAY_TEST_DUPLEX_FAR"

// far dials n pairs, one connection after the other, and sends size bytes over
// each pair. With none it sends a message forth and back, and waits to be told
// to end.
func far(args string) {
	a := strings.Split(args, ",")
	n, _ := strconv.Atoi(a[2])
	size, _ := strconv.ParseInt(a[3], 10, 64)
	dial := func(addr string) *net.TCPConn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			panic(err)
		}
		return c.(*net.TCPConn)
	}
	done := make(chan int64)
	var conns []*net.TCPConn
	for range n {
		from, to := dial(a[0]), dial(a[1])
		conns = append(conns, from, to)
		if size > 0 {
			go source(from, size)
			go func() { n, _ := io.Copy(io.Discard, to); to.Close(); done <- n }()
		}
	}
	for range n {
		if size > 0 && <-done != size {
			panic("bytes are missing")
		}
	}
	if size > 0 {
		return
	}
	message := make([]byte, 1000)
	for i := range conns {
		if _, err := conns[i].Write(message); err != nil {
			panic(err)
		}
		if _, err := io.ReadFull(conns[i^1], message); err != nil {
			panic(err)
		}
	}
	os.Stdout.WriteString("idle\n")
	io.Copy(io.Discard, os.Stdin)
}

func source(c *net.TCPConn, size int64) {
	defer c.Close()
	piece := make([]byte, 1<<20)
	for ; size > 0; size -= int64(len(piece)) {
		piece = piece[:min(size, int64(len(piece)))]
		if _, err := c.Write(piece); err != nil {
			panic(err)
		}
	}
	c.CloseWrite()
	io.Copy(io.Discard, c)
}

// farPairs starts a child as the far ends of n pairs, and returns the near
// ends. For size 0 it returns when all are idle. end ends the child.
func farPairs(b *testing.B, n int, size int64, each func(from, to *net.TCPConn)) (idle, end func()) {
	b.Helper()
	var lns [2]*net.TCPListener
	for i := range lns {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		lns[i] = ln
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), farEnv+"="+lns[0].Addr().String()+","+lns[1].Addr().String()+","+
		strconv.Itoa(n)+","+strconv.FormatInt(size, 10))
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for range n {
		var near [2]*net.TCPConn
		for i, ln := range lns {
			c, err := ln.AcceptTCP()
			if err != nil {
				b.Fatal(err)
			}
			near[i] = c
		}
		each(near[0], near[1])
	}
	idle = func() { io.ReadFull(out, make([]byte, len("idle\n"))) }
	return idle, func() { in.Close(); io.Copy(io.Discard, out); cmd.Wait() }
}
