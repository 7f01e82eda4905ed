package browser_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/remote/watch/browser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const label = "EXPORTER-keystay-test"

// meet lets a connection of a shape meet a server, and returns both ends after their
// handshakes, and the errors of these.
func meet(t *testing.T, shape browser.Shape, config *tls.Config) (client *browser.Conn, server *tls.Conn, clientErr, serverErr error) {
	t.Helper()
	a, b := memconn.Pipe(1 << 16)
	t.Cleanup(func() { a.Close(); b.Close() })
	client, err := browser.Client(a, "xyz.relay.example", shape)
	if err != nil {
		t.Fatal(err)
	}
	server = tls.Server(b, config)
	done := make(chan error, 1)
	go func() { done <- server.HandshakeContext(context.Background()) }()
	if clientErr = client.Handshake(context.Background()); clientErr != nil {
		a.Close()
	}
	return client, server, clientErr, <-done
}

func TestBothEndsOfAConnectionExportTheSame(t *testing.T) {
	cert := testca.New(t).Issue("xyz.relay.example")
	for _, shape := range browser.Shapes() {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprint(shape, " ", tls.VersionName(version)), func(t *testing.T) {
				client, server, err, serverErr := meet(t, shape, &tls.Config{
					Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: version, MaxVersion: version})
				if err != nil || serverErr != nil {
					t.Fatal(err, serverErr)
				}
				if client.Protocol() != "h2" {
					t.Errorf("agreed on %q", client.Protocol())
				}
				got, err := client.Exporter(label, 32)
				if err != nil {
					t.Fatal(err)
				}
				state := server.ConnectionState()
				want, err := state.ExportKeyingMaterial(label, nil, 32)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %x, the server has %x (%v)", got, want, err)
				}
				if chain := client.Chain(); len(chain) != len(cert.Certificate) || !bytes.Equal(chain[0], cert.Certificate[0]) {
					t.Errorf("%d certificates are kept", len(chain))
				}
			})
		}
	}
}

// Whatever elliptic group a server wants of those that a shape offers, it gets there.
func TestEachGroupIsAgreedOn(t *testing.T) {
	cert := testca.New(t).Issue("xyz.relay.example")
	for _, shape := range browser.Shapes() {
		for _, group := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
			if shape == browser.Chromium && group == tls.CurveP521 {
				continue
			}
			client, server, err, _ := meet(t, shape, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{group}})
			if err != nil {
				t.Errorf("%s with %v: %v", shape, group, err)
				continue
			}
			got, err := client.Exporter(label, 32)
			state := server.ConnectionState()
			if want, _ := state.ExportKeyingMaterial(label, nil, 32); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s with %v: %x, and %x (%v)", shape, group, got, want, err)
			}
		}
	}
}

// A server that has not got the key of the certificate that it shows fails the
// handshake: what it has shown is kept.
func TestTheCertificateOfAFailedHandshakeIsKept(t *testing.T) {
	ca := testca.New(t)
	cert := ca.Issue("xyz.relay.example")
	cert.PrivateKey = ca.Issue("other.relay.example").PrivateKey
	for _, shape := range browser.Shapes() {
		client, _, err, _ := meet(t, shape, &tls.Config{Certificates: []tls.Certificate{cert}})
		if err == nil {
			t.Fatalf("%s: the handshake has not failed", shape)
		}
		if chain := client.Chain(); len(chain) == 0 || !bytes.Equal(chain[0], cert.Certificate[0]) {
			t.Errorf("%s: %d certificates are kept", shape, len(chain))
		}
		if _, err := client.Exporter(label, 32); err == nil {
			t.Errorf("%s: it exports from a handshake that failed", shape)
		}
	}
}

// The request looks like a browser's to a server, over both versions of HTTP.
func TestThePageIsAskedForAsABrowserDoes(t *testing.T) {
	cert := testca.New(t).Issue("xyz.relay.example")
	for _, shape := range browser.Shapes() {
		for _, protocol := range []string{"h2", "http/1.1", ""} {
			t.Run(fmt.Sprint(shape, " ", protocol), func(t *testing.T) {
				ln := memconn.Listen(nil)
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					isBrowser := strings.HasPrefix(r.UserAgent(), "Mozilla/5.0") && r.Header.Get("Sec-Fetch-Mode") == "navigate"
					if r.Host != "xyz.relay.example" || isBrowser != (shape != browser.Program) {
						t.Errorf("%s asks with %v", r.Host, r.Header)
					}
					w.WriteHeader(http.StatusTeapot)
					_, _ = io.WriteString(w, r.URL.Path)
				})}
				config := &tls.Config{Certificates: []tls.Certificate{cert}}
				if protocol != "" {
					config.NextProtos = []string{protocol}
				}
				srv.Protocols = new(http.Protocols)
				srv.Protocols.SetHTTP1(true)
				srv.Protocols.SetHTTP2(true)
				srv.TLSConfig = config
				served := make(chan struct{})
				go func() {
					defer close(served)
					_ = srv.Serve(tls.NewListener(ln, config))
				}()
				defer func() { srv.Close(); <-served }()
				conn, err := ln.Dial(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				c, err := browser.Client(conn, "xyz.relay.example", shape)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.Handshake(context.Background()); err != nil {
					t.Fatal(err)
				}
				status, body, err := c.Get("xyz.relay.example", "/some/path")
				if err != nil || status != http.StatusTeapot || string(body) != "/some/path" {
					t.Errorf("%d %q %v", status, body, err)
				}
			})
		}
	}
}

// Firefox has one X25519 key in both of its key shares that have one, Chromium has two.
func TestKeysAreSharedAsTheBrowserDoes(t *testing.T) {
	for shape, times := range map[browser.Shape]int{browser.Firefox: 2, browser.Chromium: 1} {
		c, err := browser.Client(nil, "xyz.relay.example", shape)
		if err != nil {
			t.Fatal(err)
		}
		hello, err := c.Hello()
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(hello, c.HandshakeState.State13.KeyShareKeys.MlkemEcdhe.PublicKey().Bytes()); got != times {
			t.Errorf("%s has the key %d times, want %d", shape, got, times)
		}
	}
}

// The random is the one that goes out, whatever the shape.
func TestTheRandomIsThatOfTheHello(t *testing.T) {
	for _, shape := range browser.Shapes() {
		a, b := memconn.Pipe(1 << 16)
		c, err := browser.Client(a, "xyz.relay.example", shape)
		if err != nil {
			t.Fatal(err)
		}
		random, err := c.Random()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Handshake(context.Background()) }()
		first := make([]byte, 43)
		if _, err := io.ReadFull(b, first); err != nil {
			t.Fatal(err)
		}
		b.Close()
		<-done
		a.Close()
		if !bytes.Equal(first[11:], random[:]) {
			t.Errorf("%s: %x goes out, and not %x", shape, first[11:], random)
		}
	}
}

func TestEachHelloIsMadeAnew(t *testing.T) {
	for _, shape := range browser.Shapes() {
		seen := make(map[string]bool)
		for range 3 {
			c, err := browser.Client(nil, "xyz.relay.example", shape)
			if err != nil {
				t.Fatal(err)
			}
			hello, err := c.Hello()
			if err != nil {
				t.Fatal(err)
			}
			seen[string(hello)] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s: %d different hellos of 3", shape, len(seen))
		}
	}
}

func Example() {
	a, b := memconn.Pipe(1 << 16)
	defer a.Close()
	defer b.Close()
	c, err := browser.Client(a, "xyz.relay.example", browser.Chromium)
	if err != nil {
		fmt.Println(err)
		return
	}
	hello, err := c.Hello()
	fmt.Println(hello[0], err) // client_hello
	// Output: 1 <nil>
}
