package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/internal/testnet"
)

// connected serves a name, answering with what it hears, and returns the flags to reach
// it.
func connected(t *testing.T, name string, serve func(net.Conn)) (flags []string) {
	t.Helper()
	ca := testca.New(t)
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(name)}}
	addr := testnet.Serve(t, func(c net.Conn) { serve(tls.Server(c, config)) })
	return []string{"--root", root, "--address", addr.String()}
}

func echo(c net.Conn) {
	defer c.Close()
	io.Copy(c, c)
}

// What is on stdin goes to the name, and what it answers to stdout, to both ends.
func TestConnectLeadsStdinAndStdoutToAName(t *testing.T) {
	flags := connected(t, "box.relay.test", echo)
	out, err := execute("question\n", append([]string{"connect", "box.relay.test"}, flags...)...)
	if out != "question\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// A connection that breaks is code 1, however much has come.
func TestConnectTellsABrokenConnectionByItsCode(t *testing.T) {
	flags := connected(t, "box.relay.test", func(c net.Conn) {
		io.WriteString(c, "half of")
		c.(*tls.Conn).NetConn().Close()
	})
	out, err := execute("", append([]string{"connect", "box.relay.test"}, flags...)...)
	if !strings.HasPrefix(out, "half of") || code(err) != 1 || len(hint.All(err)) != 1 {
		t.Errorf("%q, code %d, %v", out, code(err), err)
	}
	out, err = execute("", append([]string{"connect", "other.relay.test"}, flags...)...)
	if out != "" || code(err) != 1 || strings.Join(hint.All(err), "") != hint.ConnectOtherName.Do[0] {
		t.Errorf("%q, code %d, %v", out, code(err), err)
	}
}

// Wrong usage is code 2, before anything is dialled.
func TestConnectWithoutWhatItNeedsIsWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"a b"}, {"192.0.2.1"}, {"box.relay.test:0"}, {"box.relay.test", "5432"}, {"box.relay.test", "--address", "x"},
		{"box.relay.test", "--root", "testdata/none"}, {"box.relay.test", "--cert", "x.pem"}, {"box.relay.test", "--cert", "x.pem", "--key", "x.pem"},
		{"box.relay.test", "--alpn", ","}, {"box.relay.test", "-L", ""}, {"box.relay.test", "-L", "x"}, {"box.relay.test", "-L", "1:2:3"}, {"box.relay.test", "-L", "70000"},
		{"box.relay.test", "-L", "0", "--max-connections", "0"}, {"box.relay.test", "--proxy", "ftp://x"},
	} {
		if out, err := execute("", append([]string{"connect"}, args...)...); code(err) != 2 {
			t.Errorf("%q: code %d, %v: %s", args, code(err), err, out)
		}
	}
}

// A local port is one of this machine alone, unless an address says otherwise.
func TestALocalPortIsOnLoopbackUnlessAnAddressIsGiven(t *testing.T) {
	for given, want := range map[string]string{
		"5432": "127.0.0.1:5432", ":5432": "127.0.0.1:5432", "0.0.0.0:5432": "0.0.0.0:5432", "[::1]:0": "[::1]:0", "localhost:1": "localhost:1",
	} {
		if got, err := localPort(given); got != want || err != nil {
			t.Errorf("%s: %q, %v", given, got, err)
		}
	}
}

// At a terminal the end of the name's side ends the command: nobody has to type one.
func TestAtATerminalTheEndOfTheNameIsTheEnd(t *testing.T) {
	idle, end := io.Pipe()
	defer end.Close()
	s := &stdioConn{in: idle, out: io.Discard, person: true}
	s.begin()
	s.CloseWrite()
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	in, typing := io.Pipe()
	defer typing.Close()
	s = &stdioConn{in: in, out: io.Discard}
	s.begin()
	s.CloseWrite()
	go io.WriteString(typing, "still there")
	b := make([]byte, 20)
	if n, err := s.Read(b); string(b[:n]) != "still there" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	s.Reset()
	if _, err := s.Read(b); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
