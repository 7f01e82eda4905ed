package relay_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/relay"
)

// Each visitor gets to the device of its name, with every byte from the first.
func TestVisitorsReachTheirDevice(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	r.device(a, "a.relay.test", a.label()).echo("a")
	r.device(b, "b.relay.test", "deep.below.relay.test").echo("b")
	r.reaches("a.relay.test", "a")
	r.reaches(a.label(), "a")
	r.reaches("b.relay.test", "b")
	r.reaches("deep.below.relay.test", "b")
	for _, name := range []string{"B.relay.test", "b.Relay.TEST", "b.relay.test.", "B.RELAY.TEST."} {
		r.reaches(name, "b")
	}
}

func TestStreamOfAVisitor(t *testing.T) {
	r := newRig(t, nil)
	d := r.device(newIdentity(t), "a.relay.test")
	hello := helloFor(t, "A.relay.test")
	c := r.dial()
	c.Write(hello[:100]) // in two segments
	c.Write(hello[100:])
	s, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, hello) {
		t.Errorf("the device got another hello, %v", err)
	}
	h := s.Header()
	if h.Name != "a.relay.test" || h.Kind != framing.KindTLS || h.ID == [16]byte{} ||
		h.Source.String() != c.LocalAddr().String() || h.Dest.String() != c.RemoteAddr().String() {
		t.Errorf("header %+v", h)
	}
	// The visitor ends its side, and still gets the answer, and its end.
	c.CloseWrite()
	if b, err := io.ReadAll(s); len(b) > 0 || err != nil {
		t.Errorf("after the visitor's end: %q, %v", b, err)
	}
	s.Write([]byte("answer"))
	s.Close()
	if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
		t.Errorf("the visitor got %q, %v", b, err)
	}
}

// A hello of several records and 40 KB is passed on whole, also when it is more
// than the first credit of a stream.
func TestLargeHelloIsPassedOnWhole(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "a.relay.test").echo("a")
	c := &captured{}
	protos := make([]string, 200)
	for i := range protos {
		protos[i] = strings.Repeat("p", 200)
	}
	tls.Client(c, &tls.Config{ServerName: "a.relay.test", NextProtos: protos}).Handshake()
	if len(c.first) < 40_000 {
		t.Fatalf("a hello of %d bytes", len(c.first))
	}
	v := r.dial()
	v.Write(c.first)
	v.CloseWrite()
	b, err := io.ReadAll(v)
	if err != nil || string(b) != "a:"+string(c.first) {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
}

// Who leads nowhere is told by an alert that arrives, at once.
func TestRefusedVisitorIsToldByAnAlert(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "a.relay.test").echo("a")
	for _, name := range []string{
		"", "unknown.relay.test", "x.a.relay.test", "test", "example.com",
		"192.0.2.1", "[::1]", "a_b.relay.test", "-a.relay.test", "a..relay.test", "a.relay.test..", "*.relay.test",
		"a.relay.test\x00", "ä.relay.test", strings.Repeat("x", 64) + ".relay.test", strings.Repeat("x.", 125) + "relay.test",
	} {
		r.refused(name, unrecognizedName)
	}
	r.reaches("a.relay.test", "a")
}

// The alert arrives also at a visitor that has sent more than its hello and has
// not ended its side.
func TestAlertArrivesBesideUnreadBytes(t *testing.T) {
	r := newRig(t, nil)
	for range 20 {
		c := r.dial()
		c.Write(append(helloFor(t, "unknown.relay.test"), make([]byte, 30_000)...))
		if b, err := io.ReadAll(c); string(b) != unrecognizedName || err != nil {
			t.Fatalf("got %q, %v", b, err)
		}
		c.Close()
	}
}

// A real TLS client understands it.
func TestAlertIsUnderstood(t *testing.T) {
	r := newRig(t, nil)
	err := tls.Client(r.dial(), &tls.Config{ServerName: "unknown.relay.test"}).Handshake()
	var op *net.OpError
	if !errors.As(err, &op) || op.Err.Error() != tls.AlertError(112).Error() {
		t.Errorf("handshake: %v", err)
	}
}

// What is not TLS is closed at once, but for HTTP/1, which gets an answer.
func TestNotTLSIsClosedAtOnce(t *testing.T) {
	r := newRig(t, nil)
	const bad = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
	for say, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n":      bad,
		"POST /x HTTP/1.0\r\n\r\n" + strings.Repeat("x", 9): bad,
		"OPTIONS * HTTP/1.1\r\n\r\n":                        bad,
		"SSH-2.0-x\r\n":                                     "",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                  "",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n":          "",
		"\r\n\r\n\x00\r\nQUIT\n":                            "",
		"\x00\x00\x00\x00\x00\x00":                          "",
	} {
		silent, c := r.dial(), r.dial()
		c.Write([]byte(say))
		b, err := io.ReadAll(c)
		reset := want == "" && errors.Is(err, syscall.ECONNRESET)
		if string(b) != want || err != nil && !reset {
			t.Errorf("%q got %q, %v", say, b, err)
		}
		if duplex.Ended(silent) { // it came first, and has HelloTimeout
			t.Errorf("%q was closed no sooner than who says nothing", say)
		}
		silent.Close()
	}
}

// A broken hello gets a fatal alert and then an end: no reset destroys it, though
// more was sent.
func TestBrokenHelloGetsTheAlertOfAServer(t *testing.T) {
	r := newRig(t, nil)
	for say, alert := range map[string]byte{
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00": 50, // decode_error
		"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00": 10, // unexpected_message
		"\x16\x03\x01\x00\x00":                     10,
		"\x16\x03\x01\x40\x01":                     22, // record_overflow
		"\x80\x2e\x01\x03\x01":                     70, // protocol_version
		"\x16\x03\x01\x00\x04\x01\xff\xff\xff":     80, // internal_error
	} {
		for _, more := range []int{0, 40_000} {
			c := r.dial()
			c.Write(append([]byte(say), make([]byte, more)...))
			b, err := io.ReadAll(c)
			if string(b) != "\x15\x03\x03\x00\x02\x02"+string(alert) || err != nil {
				t.Errorf("%q and %d bytes got %q, %v; want alert %d", say, more, b, err, alert)
			}
			c.Close()
		}
	}
}

// Without a server name, or with an address in its place, a visitor gets to the
// default name where there is one; with a name that leads nowhere it does not.
func TestDefaultNameServesVisitorsWithoutAName(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.DefaultName = "a.relay.test" })
	r.device(newIdentity(t), "a.relay.test").echo("a")
	for _, name := range []string{"", "192.0.2.1", "2001:db8::1"} {
		r.reaches(name, "a")
	}
	for _, name := range []string{"unknown.relay.test", "a_b.relay.test", "[::1]", "localhost", "192.0.2.1.example"} {
		r.refused(name, unrecognizedName)
	}
}

// An unfinished hello is closed at 10 s, whatever trickles in.
func TestUnfinishedHelloIsClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		hello := helloFor(t, "a.relay.test")
		for _, trickle := range []bool{false, true} {
			c := r.dial()
			start := time.Now()
			c.Write(hello[:20])
			closed := make(chan struct{})
			go func() { c.Read(make([]byte, 1)); close(closed) }()
			for i := 20; trickle && i < 40; i++ {
				select {
				case <-time.After(time.Second):
					c.Write(hello[i : i+1])
				case <-closed:
				}
			}
			<-closed
			if took := time.Since(start); took != 10*time.Second && !trickle || took > 21*time.Second {
				t.Errorf("closed after %v", took)
			}
		}
		r.close()
	})
}

// A connection that breaks on one side breaks on the other.
func TestResetsGoThrough(t *testing.T) {
	r := newRig(t, nil)
	d := r.device(newIdentity(t), "a.relay.test")
	visitor := func() (*net.TCPConn, *framing.Stream) {
		c := r.dial().(*net.TCPConn)
		hello := helloFor(t, "a.relay.test")
		c.Write(hello)
		s, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(s, make([]byte, len(hello)))
		return c, s
	}
	c, s := visitor()
	c.SetLinger(0)
	c.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the device reads %v after the visitor's reset", err)
	}

	c, s = visitor()
	s.Write([]byte("part"))
	io.ReadFull(c, make([]byte, 4))
	s.Reset()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor reads %v after the device's reset", err)
	}

	c, s = visitor()
	s.Write([]byte("part"))
	io.ReadFull(c, make([]byte, 4))
	d.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the visitor reads %v after the loss of the link", err)
	}
}

// A device that opens a stream is cut off; others do not notice.
func TestDeviceThatOpensAStreamIsCutOff(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "b.relay.test").echo("b")
	bad := r.device(newIdentity(t), "a.relay.test")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	s, err := bad.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Refuse()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a refused visitor got %v", err)
	}
	r.reaches("b.relay.test", "b")
}

var _ conn = (*memconn.Conn)(nil)

// A stream that is refused is the visitor's loss alone: the device's other
// visitors, and its other names, are served as before.
func TestRefusedStreamIsNoLostLink(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "a.relay.test", "b.relay.test").serve(func(s *framing.Stream) {
		b := make([]byte, 5)
		if _, err := io.ReadFull(s, b); err != nil || s.Header().Name == "a.relay.test" {
			s.Refuse() // while the rest of the hello waits for credit
			return
		}
		io.WriteString(s, "here")
		s.CloseWrite()
	})
	c := &captured{}
	protos := make([]string, 200)
	for i := range protos {
		protos[i] = strings.Repeat("p", 200)
	}
	tls.Client(c, &tls.Config{ServerName: "a.relay.test", NextProtos: protos}).Handshake()
	for range 3 {
		v := r.dial()
		v.Write(c.first)
		io.ReadAll(v) // an alert, or a reset
		v.Close()
	}
	if got, err := r.visit("b.relay.test", ""); got != "here" {
		t.Errorf("another name of the device: %q, %v", got, err)
	}
}
