package publish_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// tlsService is an https service with a certificate for names, and HTTP/2.
func tlsService(t *testing.T, ca *testca.CA, h http.HandlerFunc, config func(*tls.Config), names ...string) net.Addr {
	t.Helper()
	local := httptest.NewUnstartedServer(h)
	local.EnableHTTP2 = true
	local.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(names...)}}
	if config != nil {
		config(local.TLS)
	}
	local.Config.ErrorLog = quiet
	local.StartTLS()
	t.Cleanup(local.Close)
	return local.Listener.Addr()
}

func insecureTarget(addr net.Addr) *publish.Target {
	target := tcpTarget("https", addr)
	target.Insecure = true
	return target
}

// upgradeTo is a service that switches to the protocol that is asked for.
func upgradeTo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" || r.ProtoMajor != 1 {
			fmt.Fprint(w, "served over ", r.Proto)
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\nswitched")
	}
}

// Whatever a request asks to switch to goes over HTTP/1.1, also where the
// service prefers HTTP/2, which has no Upgrade. All else is as before.
func TestUpgradeGoesOverHTTP1(t *testing.T) {
	p := serveTarget(t, insecureTarget(tlsService(t, testca.New(t), upgradeTo(t), nil, "localhost")))
	if _, text := get(t, p.client(false)); text != "served over HTTP/2.0" {
		t.Errorf("without Upgrade: %q", text)
	}
	for _, token := range []string{"SPDY/3.1", "websocket", "echo"} {
		v := p.visitor("http/1.1")
		fmt.Fprintf(v, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", domain, token)
		resp, err := http.ReadResponse(bufio.NewReader(v), nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != token {
			t.Errorf("%s: %v, %v", token, resp, err)
		}
		v.Close()
	}
}

// Trailers of a service that speaks HTTP/2 pass, announced or not, without those that must
// not be there (RFC 9110, section 6.5.1).
func TestTrailersOfHTTP2Services(t *testing.T) {
	service := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "body")
		w.(http.Flusher).Flush() // else it has a length, and over HTTP/1.1 no trailers
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "a=b")
	}
	p := serveTarget(t, insecureTarget(tlsService(t, testca.New(t), service, nil, "localhost")))
	both(t, func(t *testing.T, h2 bool) {
		resp, text := get(t, p.client(h2))
		if text != "body" || resp.Trailer.Get("X-Sum") != "1" || resp.Trailer.Get("Set-Cookie") != "" {
			t.Errorf("%q, with trailers %v", text, resp.Trailer)
		}
	})
}

// h2cTarget is a target for a service that speaks HTTP/2 without TLS alone.
func h2cTarget(t *testing.T, h http.Handler) *publish.Target {
	local := httptest.NewUnstartedServer(h)
	local.Config.Protocols = new(http.Protocols)
	local.Config.Protocols.SetUnencryptedHTTP2(true)
	local.Start()
	t.Cleanup(local.Close)
	target := tcpTarget("http", local.Listener.Addr())
	target.H2C = true
	return target
}

// A service that speaks HTTP/2 without TLS gets what gRPC needs: each piece of
// the body while it is answered, TE, and trailers. An Upgrade, which it cannot
// grant, is left out.
func TestH2CServiceGetsWhatGRPCNeeds(t *testing.T) {
	p := serveTarget(t, h2cTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Te") != r.Header.Get("X-Te") || r.Header.Get("Upgrade") != "" {
			t.Errorf("%s, TE %q, Upgrade %q", r.Proto, r.Header.Get("Te"), r.Header.Get("Upgrade"))
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for b := make([]byte, 4); ; {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				break
			}
			w.Write(b)
			w.(http.Flusher).Flush()
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})))
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "https://"+domain+"/pkg.Service/Method", pr)
	req.Header.Set("TE", "trailers")
	req.Header.Set("X-Te", "trailers")
	req.Header.Set("Content-Type", "application/grpc")
	resp, err := p.client(true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, ping := range []string{"one.", "two."} {
		io.WriteString(pw, ping)
		b := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, b); string(b) != ping {
			t.Errorf("sent %q, got %q, %v", ping, b, err)
		}
	}
	pw.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%v, trailers %v", err, resp.Trailer)
	}
	v := p.visitor("http/1.1")
	fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", domain)
	if resp, err := http.ReadResponse(bufio.NewReader(v), nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("with Upgrade: %v, %v", resp, err)
	}
}

// A service that wants HTTP/1.1, or another server name, is asked again, once,
// with the whole request.
func TestServiceThatWantsAnotherConnection(t *testing.T) {
	ca := testca.New(t)
	for _, c := range []struct {
		name    string
		refuses func(r *http.Request) int // a status, or 0
		want    string
		asked   int32 // how often, for two requests
	}{
		{"505 over HTTP/2", func(r *http.Request) int {
			if r.ProtoMajor == 2 {
				return 505
			}
			return 0
		}, "200 body", 3}, // the second request goes over HTTP/1.1 at once
		{"421 for the name of the target", func(r *http.Request) int {
			if r.TLS.ServerName != domain {
				return 421
			}
			return 0
		}, "200 body", 3},
		{"421 whatever is asked", func(*http.Request) int { return 421 }, "421 ", 3},
		{"426", func(*http.Request) int { return 426 }, "426 ", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			addr := tlsService(t, ca, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if status := c.refuses(r); status != 0 {
					w.WriteHeader(status)
					return
				}
				io.Copy(w, r.Body)
			}, nil, "localhost")
			target := tcpTarget("https", addr)
			_, port, _ := net.SplitHostPort(addr.String())
			target.URL.Host = "localhost:" + port
			target.Roots = ca.Pool()
			client := serveTarget(t, target).client(true)
			for range 2 {
				resp, err := client.Post("https://"+domain, "", strings.NewReader("body"))
				if text := body(t, resp, err); fmt.Sprint(resp.StatusCode, " ", text) != c.want {
					t.Errorf("%s %q, want %s", resp.Status, text, c.want)
				}
			}
			if n := asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

// A stream that is reset with HTTP_1_1_REQUIRED (RFC 9113, section 7) is sent
// again over HTTP/1.1, and so is what follows.
func TestHTTP11RequiredIsSentAgainOverHTTP1(t *testing.T) {
	ca := testca.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var resets atomic.Int32
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue("localhost")}, NextProtos: []string{"h2", "http/1.1"}}
	done := testnet.Accept(ln, func(c net.Conn) {
		tc := tls.Server(c, config)
		if tc.Handshake() != nil {
			return
		}
		if tc.ConnectionState().NegotiatedProtocol == "h2" {
			serveRawH2(tc, func(fr *http2.Framer, h *http2.HeadersFrame) bool {
				resets.Add(1)
				fr.WriteRSTStream(h.StreamID, http2.ErrCodeHTTP11Required)
				return true
			})
			return
		}
		for br := bufio.NewReader(tc); ; {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			b, _ := io.ReadAll(req.Body)
			fmt.Fprintf(tc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
		}
	})
	defer done()
	client := serveTarget(t, insecureTarget(ln.Addr())).client(true)
	for range 3 {
		resp, err := client.Post("https://"+domain, "", strings.NewReader("body"))
		if text := body(t, resp, err); resp.StatusCode != 200 || text != "body" {
			t.Errorf("%s %q", resp.Status, text)
		}
	}
	if n := resets.Load(); n != 1 {
		t.Errorf("%d streams were reset, want 1", n)
	}
}

// The server name that an https service is asked for. One that ends the
// handshake for a name is asked for the next.
func TestNextServerNameIsTriedAfterARefusal(t *testing.T) {
	ca := testca.New(t)
	for _, c := range []struct {
		name  string
		host  string // of the target's URL
		takes string // the name that the service takes
		set   string // HostHeader
		want  string
	}{
		{"an address: the visitor's name", "127.0.0.1", domain, "", domain},
		{"an address: what is set", "127.0.0.1", "app.test", "app.test:80", "app.test"},
		{"an address: no name, if the visitor's is refused", "127.0.0.1", "", "", ""},
		{"a name", "localhost", "localhost", "", "localhost"},
		{"a name: the visitor's, if it is refused", "localhost", domain, "", domain},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan string, 1)
			addr := tlsService(t, ca, func(w http.ResponseWriter, r *http.Request) { got <- r.TLS.ServerName }, func(config *tls.Config) {
				config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					if hello.ServerName != c.takes {
						return nil, errors.New("no such name")
					}
					return nil, nil
				}
			}, "localhost", "127.0.0.1")
			target := tcpTarget("https", addr)
			_, port, _ := net.SplitHostPort(addr.String())
			target.URL.Host = net.JoinHostPort(c.host, port)
			target.Roots = ca.Pool()
			target.HostHeader = c.set
			resp, _ := get(t, serveTarget(t, target).client(false))
			if resp.StatusCode != 200 {
				t.Fatalf("%s", resp.Status)
			}
			if name := <-got; name != c.want {
				t.Errorf("asked for %q, want %q", name, c.want)
			}
			if err := target.Check(t.Context(), domain); err != nil {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

// Whatever name a service is asked for, its certificate has to be for the
// target's host.
func TestCertificateIsForTheTargetsHost(t *testing.T) {
	ca := testca.New(t)
	for _, c := range []struct {
		name, host string
		trusted    bool
		want       string
	}{
		{"localhost", "localhost", true, ""},
		{"127.0.0.1", "127.0.0.1", true, ""},
		{domain, "127.0.0.1", true, "its certificate is not trusted: x509: "},
		{domain, "localhost", true, "its certificate is not trusted: x509: "},
		{"localhost", "localhost", false, "its certificate is not trusted: x509: certificate signed by unknown authority"},
	} {
		addr := tlsService(t, ca, func(w http.ResponseWriter, r *http.Request) {}, nil, c.name)
		target := tcpTarget("https", addr)
		_, port, _ := net.SplitHostPort(addr.String())
		target.URL.Host = net.JoinHostPort(c.host, port)
		if target.Roots = ca.Pool(); !c.trusted {
			target.Roots = testca.New(t).Pool()
		}
		want := 200
		if c.want != "" {
			want = 502
		}
		for range 2 { // the second time with a session
			if resp, text := get(t, serveTarget(t, target).client(false)); resp.StatusCode != want {
				t.Errorf("%s at %s: %s %q", c.name, c.host, resp.Status, text)
			}
		}
		err := target.Check(context.Background(), domain)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want) ||
			len(hint.All(err)) == 0 || !strings.Contains(hint.All(err)[0], "https+insecure://"+target.URL.Host)) {
			t.Errorf("%s at %s: Check: %v %q", c.name, c.host, err, hint.All(err))
		}
	}
}
