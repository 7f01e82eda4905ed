package raw_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish/raw"
)

// echo answers with what it has been told, once the visitor has ended its side.
func echo(c *net.TCPConn) {
	b, err := io.ReadAll(c)
	if err == nil {
		c.Write(append([]byte("you said: "), b...))
	}
}

// A visitor who has ended its side still gets the service's answer, and its end.
func TestVisitorsEndIsPassedOnAndTheAnswerStillComes(t *testing.T) {
	p := publish(t, tcpTarget(t, echo))
	tc, _ := p.visitor()
	io.WriteString(tc, "hello")
	tc.CloseWrite()
	if b, err := io.ReadAll(tc); string(b) != "you said: hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// A service that speaks first, and ends its side first, still hears the visitor.
func TestServicesEndIsPassedOnAndTheVisitorIsStillHeard(t *testing.T) {
	heard := make(chan string, 1)
	p := publish(t, tcpTarget(t, func(c *net.TCPConn) {
		io.WriteString(c, "SSH-2.0-test\r\n")
		c.CloseWrite()
		b, err := io.ReadAll(c)
		if err != nil {
			b = []byte(err.Error())
		}
		heard <- string(b)
	}))
	tc, _ := p.visitor()
	if b, err := io.ReadAll(tc); string(b) != "SSH-2.0-test\r\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	io.WriteString(tc, "still here")
	tc.CloseWrite()
	if got := <-heard; got != "still here" {
		t.Errorf("the service heard %q", got)
	}
}

// An answer that a service cuts never looks whole to a visitor.
func TestServicesResetIsAReset(t *testing.T) {
	p := publish(t, tcpTarget(t, func(c *net.TCPConn) {
		io.WriteString(c, "half of")
		io.ReadFull(c, make([]byte, 1)) // the visitor has it
		c.SetLinger(0)
	}))
	tc, c := p.visitor()
	io.ReadFull(tc, make([]byte, len("half of")))
	io.WriteString(tc, "!")
	if b, err := io.ReadAll(tc); err == nil {
		t.Errorf("%q looks whole", b)
	}
	if err := c.Broken(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor's connection: %v", err)
	}
}

// A request that a visitor cuts never looks whole to a service: neither a reset, nor an end
// without TLS's own.
func TestVisitorsResetAndTruncationAreResets(t *testing.T) {
	for name, cut := range map[string]func(net.Conn){
		"reset":      func(c net.Conn) { c.(interface{ Reset() error }).Reset() },
		"truncation": func(c net.Conn) { c.(interface{ CloseWrite() error }).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan error, 1)
			p := publish(t, tcpTarget(t, func(c *net.TCPConn) {
				io.WriteString(c, "go on")
				_, err := io.ReadAll(c)
				heard <- err
			}))
			tc, c := p.visitor()
			io.WriteString(tc, "half of")
			io.ReadFull(tc, make([]byte, len("go on")))
			cut(c)
			if err := <-heard; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the service heard %v", err)
			}
		})
	}
}

// A service that ends TLS itself gets the visitor's bytes as they are, and the
// visitor its certificate, and its ends.
func TestServiceWithItsOwnTLSEndsIt(t *testing.T) {
	config := make(chan *tls.Config, 1)
	target := tcpTarget(t, func(c *net.TCPConn) {
		conf := <-config
		config <- conf
		tc := tls.Server(c, conf)
		b, err := io.ReadAll(tc)
		if err == nil {
			tc.Write(append([]byte(tc.ConnectionState().NegotiatedProtocol+" "), b...))
			tc.Close()
		}
	})
	target.TLS = true
	p := publish(t, target)
	config <- p.config()
	tc, _ := p.visitor("mqtt")
	io.WriteString(tc, "hello")
	tc.CloseWrite()
	if b, err := io.ReadAll(tc); string(b) != "mqtt hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// A service behind a unix socket is one, too.
func TestUnixSocketIsAService(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) { io.Copy(c, c) }))
	target := &raw.Target{Network: "unix", Addresses: []string{ln.Addr().String()}}
	if err := target.Check(t.Context()); err != nil {
		t.Error(err)
	}
	tc, _ := publish(t, target).visitor()
	io.WriteString(tc, "hello")
	tc.CloseWrite()
	if b, err := io.ReadAll(tc); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// The second address is asked where the first does not answer.
func TestNextAddressIsTried(t *testing.T) {
	target := tcpTarget(t, echo)
	target.Addresses = append(downTarget(t).Addresses, target.Addresses...)
	tc, _ := publish(t, target).visitor()
	tc.CloseWrite()
	if b, err := io.ReadAll(tc); string(b) != "you said: " || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// While the service is down each visitor is reset; one who still waits for its
// handshake gets an alert. The log has one line of it for all, with what to do, and
// one when the service answers again.
func TestVisitorsOfAServiceThatIsDownAreResetAndItIsToldOnce(t *testing.T) {
	var log logbook
	target := downTarget(t)
	target.Logger = log.logger()
	p := publish(t, target)
	for range 5 {
		c := p.dial()
		tc := tls.Client(stream{c}, &tls.Config{RootCAs: p.ca.Pool(), ServerName: domain})
		if _, err := io.ReadAll(tc); err == nil {
			t.Fatal("a visitor was served")
		}
		eventually(t, "reset", func() bool { return errors.Is(c.Broken(), syscall.ECONNRESET) })
	}
	if n := strings.Count(log.String(), "the local service does not answer"); n != 1 || !strings.Contains(log.String(), "connection refused") || !strings.Contains(log.String(), "start it") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	ln, err := net.Listen("tcp", target.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) { echo(c.(*net.TCPConn)) }))
	tc, _ := p.visitor()
	tc.CloseWrite()
	io.ReadAll(tc)
	if !strings.Contains(log.String(), "the local service answers again") || !strings.Contains(log.String(), "visitors=5") {
		t.Error(log.String())
	}
}

// A browser shows an alert better than a reset.
func TestVisitorOfATLSServiceThatIsDownGetsAnAlert(t *testing.T) {
	target := downTarget(t)
	target.TLS = true
	p := publish(t, target)
	err := tls.Client(p.dial(), &tls.Config{ServerName: domain}).Handshake()
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" || alert.Err.Error() != "tls: internal error" {
		t.Errorf("%v", err)
	}
	eventually(t, "gone", func() bool { return target.Visitors() == 0 })
}

// Check says why a service does not answer, with what to do about it, and Watch
// tells the log when that changes.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	missing := &raw.Target{Network: "unix", Addresses: []string{filepath.Join(t.TempDir(), "none")}}
	for text, target := range map[string]*raw.Target{
		"connection refused":        downTarget(t),
		"no such file or directory": missing,
		"no address":                {Network: "tcp"},
		"version 3":                 {Network: "tcp", ProxyProtocol: 3},
	} {
		if err := target.Check(t.Context()); err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "dial") {
			t.Errorf("%v, want %s", err, text)
		}
	}
	plain := tcpTarget(t, func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-test\r\n") })
	plain.TLS = true
	if err := plain.Check(t.Context()); err == nil || err.Error() != "it does not speak TLS there" {
		t.Errorf("a service without TLS: %v", err)
	}
	closing := tcpTarget(t, func(c *net.TCPConn) { c.Read(make([]byte, 1<<10)) })
	closing.TLS = true
	if err := closing.Check(t.Context()); err == nil || err.Error() != "TLS handshake: it has ended the connection" {
		t.Errorf("a service that hangs up: %v", err)
	}
	ca := testca.New(t)
	for _, config := range []*tls.Config{
		{Certificates: []tls.Certificate{ca.Issue(domain)}},
		{Certificates: []tls.Certificate{ca.Issue(domain)}, NextProtos: []string{"postgresql"}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
		{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("not this name") }},
	} {
		target := tcpTarget(t, func(c *net.TCPConn) { tls.Server(c, config).Handshake() })
		target.TLS = true
		if err := target.Check(t.Context()); err != nil {
			t.Errorf("a service with TLS: %v", err)
		}
	}
	var log logbook
	target := downTarget(t)
	target.Logger = log.logger()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { target.Watch(ctx); close(done) }()
	eventually(t, "told", func() bool { return strings.Contains(log.String(), "does not answer") })
	ln, err := net.Listen("tcp", target.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "told again", func() bool { return strings.Contains(log.String(), "answers again") })
	ln.Close()
	cancel()
	<-done
}

// A service without TLS where TLS is to be is told once, however many visitors it
// takes: that it can be dialled ends nothing. One that speaks TLS again does.
func TestOnlyTLSEndsTheOutageOfATLSService(t *testing.T) {
	ca := testca.New(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(domain)}}
	var speaks atomic.Bool
	target := tcpTarget(t, func(c *net.TCPConn) {
		if speaks.Load() {
			tls.Server(c, config).Handshake()
			return
		}
		io.WriteString(c, "SSH-2.0-test\r\n")
		io.Copy(io.Discard, c)
	})
	target.TLS = true
	var log logbook
	target.Logger = log.logger()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { target.Watch(ctx); close(done) }()
	eventually(t, "told", func() bool { return strings.Contains(log.String(), "it does not speak TLS there") })
	p := publish(t, target)
	for range 3 {
		c := p.dial()
		io.ReadFull(c, make([]byte, 5))
		c.Close()
	}
	if text := log.String(); strings.Contains(text, "answers again") || strings.Count(text, "does not answer") != 1 {
		t.Error(text)
	}
	speaks.Store(true)
	eventually(t, "told again", func() bool { return strings.Contains(log.String(), "answers again") })
	cancel()
	<-done
}

// Of a service that ends TLS itself the log says whose key visitors see, and what of
// its certificate they will not like.
func TestWatchSaysWhoseKeyVisitorsSee(t *testing.T) {
	ca := testca.New(t)
	for want, cert := range map[string]tls.Certificate{
		"":                     ca.Issue(domain),
		"valid for other":      ca.Issue("other.relay.test"),
		"err=\"it has expired": ca.IssueValid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), domain),
	} {
		var log logbook
		target := tcpTarget(t, func(c *net.TCPConn) {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
		})
		target.TLS, target.Name, target.Logger = true, domain, log.logger()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { target.Watch(ctx); close(done) }()
		key := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
		eventually(t, "told", func() bool { return strings.Contains(log.String(), hex.EncodeToString(key[:])) })
		if want != "" {
			eventually(t, "warned", func() bool { return strings.Contains(log.String(), want) })
		}
		cancel()
		<-done
		if warned := strings.Contains(log.String(), "will refuse"); warned != (want != "") {
			t.Error(log.String())
		}
	}
}

// One visitor too many is reset, and those who are there stay.
func TestOneVisitorTooManyIsReset(t *testing.T) {
	var log logbook
	target := tcpTarget(t, echo)
	target.MaxVisitors, target.Logger = 2, log.logger()
	p := publish(t, target)
	first, _ := p.visitor()
	second, _ := p.visitor()
	eventually(t, "there", func() bool { return target.Visitors() == 2 })
	c := p.dial()
	if _, err := io.ReadAll(tls.Client(stream{c}, &tls.Config{RootCAs: p.ca.Pool(), ServerName: domain})); err == nil || !errors.Is(c.Broken(), syscall.ECONNRESET) {
		t.Errorf("the third: %v", err)
	}
	for _, tc := range []*tls.Conn{first, second} {
		tc.CloseWrite()
		if b, err := io.ReadAll(tc); string(b) != "you said: " || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	if !strings.Contains(log.String(), "too many visitors") {
		t.Error(log.String())
	}
}

// Shutdown waits for the visitors who are there, and takes no new ones.
func TestShutdownWaitsForVisitors(t *testing.T) {
	target := tcpTarget(t, echo)
	p := publish(t, target)
	tc, _ := p.visitor()
	eventually(t, "there", func() bool { return target.Visitors() == 1 })
	down := make(chan error, 1)
	go func() { down <- target.Shutdown(context.Background()) }()
	if err := <-p.served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	io.WriteString(tc, "last words")
	tc.CloseWrite()
	if b, err := io.ReadAll(tc); string(b) != "you said: last words" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Serve(ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// Shutdown cuts those who are left when its time is over, and says so.
func TestShutdownCutsWhoIsLeft(t *testing.T) {
	target := tcpTarget(t, echo)
	p := publish(t, target)
	tc, c := p.visitor()
	eventually(t, "there", func() bool { return target.Visitors() == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := target.Shutdown(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 visitor") {
		t.Errorf("%v", err)
	}
	if _, err := io.ReadAll(tc); err == nil || !errors.Is(c.Broken(), syscall.ECONNRESET) {
		t.Errorf("the visitor: %v, %v", err, c.Broken())
	}
}

// A visitor whose service takes nothing in is held up, and nothing piles up here.
func TestServiceThatTakesNothingHoldsTheVisitorUp(t *testing.T) {
	enough := make(chan struct{})
	p := publish(t, tcpTarget(t, func(c *net.TCPConn) {
		c.SetReadBuffer(4 << 10)
		<-enough
	}))
	defer close(enough)
	tc, _ := p.visitor()
	tc.SetWriteDeadline(time.Now().Add(2 * time.Second))
	piece, sent := make([]byte, 64<<10), 0
	for sent < 256<<20 {
		n, err := tc.Write(piece)
		sent += n
		if err != nil {
			return // what there was room for is the sockets', some MiB
		}
	}
	t.Errorf("%d MiB were taken", sent>>20)
}
