package remote_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/remote"
)

// greet is a visitor's handshake with a listener that offers these protocols, and what
// the service sees of it, nil where the visitor was refused.
func (l *relayLink) greet(ln *remote.Listener, config *tls.Config) (visitor, at *tls.Conn, err error) {
	l.t.Helper()
	config.RootCAs, config.ServerName = l.ca.Pool(), ln.Domain()
	visitor = tls.Client(l.open(ln.Domain(), framing.KindTLS), config)
	if err := visitor.Handshake(); err != nil {
		return nil, nil, err
	}
	c, err := ln.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	return visitor, c.(*tls.Conn), nil
}

// prefer chooses the first of the protocols that a visitor offers; none says what one
// gets who offers nothing.
func prefer(none bool, protos ...string) func([]string) (string, bool) {
	return func(offered []string) (string, bool) {
		for _, p := range protos {
			if slices.Contains(offered, p) {
				return p, true
			}
		}
		return "", none && len(offered) == 0
	}
}

// Which protocol a visitor gets is the program's choice among those it offers; one
// without a fitting one gets the alert no_application_protocol.
func TestProtocolsAreChosenAmongThoseOffered(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	n := r.named("one.relay.test")
	n.Handshake.Protocols = prefer(true, "mqtt", "h2")
	list, err := d.Listen(n)
	if err != nil {
		t.Fatal(err)
	}
	ln, link := list[0], r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offers []string
		none   bool
		want   string
		alert  bool
	}{
		{[]string{"h2", "http/1.1"}, true, "h2", false},
		{[]string{"h2", "mqtt"}, true, "mqtt", false},
		{nil, true, "", false},
		{[]string{"http/1.1"}, true, "", true},
		{nil, false, "", true},
		{[]string{"mqtt"}, false, "mqtt", false},
	} {
		ln.SetHandshake(remote.Handshake{Protocols: prefer(c.none, "mqtt", "h2")})
		v, at, err := link.greet(ln, &tls.Config{NextProtos: c.offers})
		if c.alert {
			if err == nil || !strings.Contains(err.Error(), "no application protocol") {
				t.Errorf("%q: %v, want the alert", c.offers, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.offers, err)
			continue
		}
		if got := v.ConnectionState().NegotiatedProtocol; got != c.want || at.ConnectionState().NegotiatedProtocol != c.want {
			t.Errorf("%q: %q, want %q", c.offers, got, c.want)
		}
	}
}

// A visitor is asked for a certificate and never refused for the lack of one; what it
// shows is the program's to verify. A change holds for the next visitor, and cuts none.
func TestClientCertificatesAreAskedFor(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	ln := r.serveNames(d, "one.relay.test")[0]
	link := r.next()
	own := r.ca.Issue("device.test")
	asked := 0
	config := func() *tls.Config {
		return &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked++
			return &own, nil
		}}
	}
	before, atBefore, err := link.greet(ln, config())
	if err != nil || asked != 0 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	ln.SetHandshake(remote.Handshake{ClientCAs: r.ca.Pool()})
	_, at, err := link.greet(ln, config())
	if err != nil {
		t.Fatal(err)
	}
	if err := at.Handshake(); err != nil || asked != 1 || len(at.ConnectionState().PeerCertificates) == 0 {
		t.Errorf("asked %d times, shown %d certificates, %v", asked, len(at.ConnectionState().PeerCertificates), err)
	}
	_, at, err = link.greet(ln, &tls.Config{})
	if err != nil || len(at.ConnectionState().PeerCertificates) != 0 {
		t.Errorf("without a certificate: %v", err)
	}
	ln.SetHandshake(remote.Handshake{})
	if _, _, err := link.greet(ln, config()); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	talk(t, before, atBefore)
}

// A session is resumed with a handshake of one's own, too.
func TestSessionsAreResumedWithAHandshake(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	ln := r.serveNames(d, "one.relay.test")[0]
	link := r.next()
	ln.SetHandshake(remote.Handshake{Protocols: prefer(true, "h2")})
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		v, at, err := link.greet(ln, &tls.Config{NextProtos: []string{"h2"}, ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		if resumed := v.ConnectionState().DidResume; resumed != (i == 1) {
			t.Errorf("handshake %d: resumed is %v", i, resumed)
		}
		go io.WriteString(at, "x")
		v.Read(make([]byte, 1)) // and the ticket
		v.Close()
		at.Close()
	}
}

// Listeners of one device may differ: one ends TLS, one leaves it to the program.
func TestRawListenerBesideOneThatEndsTLS(t *testing.T) {
	r := newRelay(t)
	d := r.openDevice(r.deviceConfig())
	ended := r.named("ended.relay.test")
	list, err := d.Listen(ended, remote.Name{Domain: "raw.relay.test", Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	link := r.next()
	for _, ln := range list {
		if err := wait(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	v, at := link.visit(list[0])
	talk(t, v, at)
	if list[1].Certificate() != nil {
		t.Error("the raw listener has a certificate")
	}
	own := &tls.Config{Certificates: []tls.Certificate{r.ca.Issue("raw.relay.test")}}
	served := make(chan error, 1)
	go func() {
		c, err := list[1].Accept()
		if err != nil {
			served <- err
			return
		}
		if _, ok := c.(*framing.Stream); !ok {
			served <- errors.New("no stream")
			return
		}
		tc := tls.Server(c, own)
		_, err = io.Copy(tc, io.LimitReader(tc, 5))
		served <- err
	}()
	raw := tls.Client(net.Conn(link.open("raw.relay.test", framing.KindTLS)), &tls.Config{RootCAs: r.ca.Pool(), ServerName: "raw.relay.test"})
	if _, err := io.WriteString(raw, "hello"); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 5); !full(raw, b) || string(b) != "hello" {
		t.Errorf("got %q", b)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
