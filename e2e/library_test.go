package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/remote"
)

// The examples of docs/library.md, which run here. Each serves until its device is shut
// down, and gets a device that was opened as
//
//	d, err := remote.Open(remote.DeviceConfig{StateDir: "/var/lib/example"})
//
// and a certificate of the test's in own, which a program leaves out: then one is
// ordered.

// serveWeb serves one name with net/http.
func serveWeb(d *remote.Device, own *tls.Config) error {
	list, err := d.Listen(remote.Name{Domain: "web.relay.test", TLS: own})
	if err != nil {
		return err
	}
	return http.Serve(list[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from the device,", r.Host)
	}))
}

// serveTwoNames serves two names with one handler each, over the same links.
func serveTwoNames(d *remote.Device, own *tls.Config) error {
	list, err := d.Listen(remote.Name{Domain: "one.relay.test", TLS: own}, remote.Name{Domain: "two.relay.test", TLS: own})
	if err != nil {
		return err
	}
	ends := make(chan error, len(list))
	for _, ln := range list {
		go func() {
			ends <- http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintln(w, "this is", ln.Domain())
			}))
		}()
	}
	return <-ends // one name may end without the other, as when its relay refuses it
}

// serveRawTLS ends the visitors' TLS by itself: neither the relay nor package remote
// sees a key.
func serveRawTLS(d *remote.Device, own *tls.Config) error {
	list, err := d.Listen(remote.Name{Domain: "raw.relay.test", Raw: true})
	if err != nil {
		return err
	}
	for {
		c, err := list[0].Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			tc := tls.Server(c, own)
			line, err := bufio.NewReader(tc).ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(tc, "%s said: %s", c.(*framing.Stream).Header().Name, line)
			tc.Close()
		}()
	}
}

// serveGRPC serves gRPC, with both kinds of streams. The listener's connections are past
// TLS, so the server needs no credentials.
func serveGRPC(d *remote.Device, own *tls.Config) error {
	list, err := d.Listen(remote.Name{Domain: "grpc.relay.test", TLS: own})
	if err != nil {
		return err
	}
	srv := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(srv, interop.NewTestServer())
	defer srv.Stop()
	return srv.Serve(list[0])
}

// libraryExamples has each example with what a visitor does.
var libraryExamples = map[string]struct {
	serve func(*remote.Device, *tls.Config) error
	names []string
	visit func(t *testing.T, r *world.Relay)
}{
	"net/http": {serveWeb, []string{"web.relay.test"}, func(t *testing.T, r *world.Relay) {
		answers(t, r, "web.relay.test", "hello from the device, web.relay.test\n")
	}},
	"two names": {serveTwoNames, []string{"one.relay.test", "two.relay.test"}, func(t *testing.T, r *world.Relay) {
		answers(t, r, "one.relay.test", "this is one.relay.test\n")
		answers(t, r, "two.relay.test", "this is two.relay.test\n")
	}},
	"raw TLS": {serveRawTLS, []string{"raw.relay.test"}, func(t *testing.T, r *world.Relay) {
		c, _, err := r.Visit("raw.relay.test", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "hello\n")
		if b, err := io.ReadAll(c); string(b) != "raw.relay.test said: hello\n" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	}},
	"gRPC": {serveGRPC, []string{"grpc.relay.test"}, func(t *testing.T, r *world.Relay) {
		c, err := grpc.NewClient("passthrough:///"+r.Addr, grpc.WithTransportCredentials(credentials.NewTLS(
			&tls.Config{RootCAs: r.CA.Pool(), ServerName: "grpc.relay.test"})))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		client := testgrpc.NewTestServiceClient(c)
		interop.DoLargeUnaryCall(t.Context(), client)
		interop.DoClientStreaming(t.Context(), client)
		interop.DoServerStreaming(t.Context(), client)
		interop.DoPingPong(t.Context(), client)
	}},
}

// answers checks what a name answers over HTTP.
func answers(t *testing.T, r *world.Relay, name, want string) {
	t.Helper()
	c, _, err := r.Visit(name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name)
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(b), "\r\n\r\n"+want) {
		t.Errorf("%s answers %q, %v", name, b, err)
	}
}

// The examples of the library's guide do what they say.
func TestLibraryExamples(t *testing.T) {
	t.Parallel()
	for what, example := range libraryExamples {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := world.StartRelay(t)
			up := make(chan remote.Event, 16)
			d, err := remote.Open(remote.DeviceConfig{
				StateDir: t.TempDir(), Relays: []string{world.Zone}, RelayAddresses: []string{r.Addr}, RelayRoots: r.CA.Pool(),
				Events: func(e remote.Event) { up <- e },
			})
			if err != nil {
				t.Fatal(err)
			}
			own := &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
			for _, name := range example.names {
				own.Certificates = append(own.Certificates, r.CA.Issue(name))
			}
			ended := make(chan error, 1)
			go func() { ended <- example.serve(d, own) }()
			for range example.names {
				if e := <-up; e.Kind != remote.Connected {
					t.Errorf("told %+v", e)
				}
			}
			example.visit(t, r)
			now, cancel := context.WithCancel(t.Context())
			cancel()
			d.Shutdown(now)
			if err := <-ended; err == nil {
				t.Error("the example has ended without an error")
			}
		})
	}
}
