package proxydial_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/proxydial"
	"keystay/internal/testca"
	"keystay/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is where the tests connect to. It is never looked up here.
const target = "relay.test:443"

// greeting is what the far side says as soon as it is reached, in the same
// packet as the proxy's answer.
const greeting = "hello from the relay"

// listen serves connections with f, until the test's end.
func listen(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	return testnet.Serve(t, f).String()
}

// dial goes through the proxy at the URL and returns all that arrives.
func dial(t *testing.T, u string, ca *testca.CA) (string, error) {
	t.Helper()
	p := &proxydial.Proxy{URL: parse(t, u)}
	if ca != nil {
		p.Roots = ca.Pool()
	}
	c, err := p.Dial(context.Background(), target)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(b), nil
}

func parse(t *testing.T, u string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// httpProxy answers CONNECT for the user "me" with the password "p@ss:word".
func httpProxy(t *testing.T, secret bool) func(net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if r.Method != "CONNECT" || r.Host != target || r.RequestURI != target {
			t.Errorf("asked for %s %s, host %s", r.Method, r.RequestURI, r.Host)
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:p@ss:word"))
		if got := r.Header.Get("Proxy-Authorization"); secret && got != want {
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate, Basic realm=\"x\"\r\nContent-Length: 3\r\n\r\nno\n")
			return
		} else if !secret && got != "" {
			t.Errorf("a password that nobody gave: %s", got)
		}
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"+greeting)
	}
}

func TestHTTPProxyIsDialledThrough(t *testing.T) {
	addr := listen(t, httpProxy(t, false))
	if got, err := dial(t, "http://"+addr, nil); err != nil || got != greeting {
		t.Errorf("%q, %v", got, err)
	}
	addr = listen(t, httpProxy(t, true))
	if got, err := dial(t, "http://me:p%40ss%3Aword@"+addr, nil); err != nil || got != greeting {
		t.Errorf("with a password: %q, %v", got, err)
	}
	for _, user := range []string{"", "me@", "me:wrong@"} {
		_, err := dial(t, "http://"+user+addr, nil)
		wantError(t, err, http.StatusProxyAuthRequired, "wants a user and password")
	}
}

// A proxy that is spoken to over TLS must show its certificate.
func TestHTTPSProxyShowsItsCertificate(t *testing.T) {
	ca := testca.New(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1")}}
	addr := listen(t, func(c net.Conn) {
		tc := tls.Server(c, config)
		httpProxy(t, true)(tc)
		tc.Close()
	})
	if got, err := dial(t, "https://me:p%40ss%3Aword@"+addr, ca); err != nil || got != greeting {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := dial(t, "https://"+addr, testca.New(t)); err == nil {
		t.Error("any certificate will do")
	}
}

// Each answer that is no yes has its hint, and ends in time.
func TestRefusalOfAnHTTPProxyHasItsHint(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		status       int
		hint         string
	}{
		{"port", "HTTP/1.1 403 Forbidden\r\n\r\n", 403, "port 443 alone"},
		{"NTLM", "HTTP/1.1 407 X\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n", 407, "other than user and password"},
		{"no challenge", "HTTP/1.1 407 X\r\n\r\n", 407, "wants a user and password"},
		{"web server", "HTTP/1.1 405 Method Not Allowed\r\n\r\n", 405, "passes no connections on"},
		{"unreachable", "HTTP/1.1 502 Bad Gateway\r\n\r\n", 502, "cannot reach the relay"},
		{"no path", "HTTP/1.1 404 Not Found\r\n\r\n", 404, "passes no connections on"},
		{"another refusal", "HTTP/1.1 426 Upgrade Required\r\n\r\n", 426, "passes no connections on"},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n", 302, "a page in a browser on this network first"},
		{"another redirect", "HTTP/1.1 308 X\r\n\r\n", 308, "a page in a browser on this network first"},
		{"nothing", "", 0, "whether it lets this device in"},
		{"half a status line", "HTTP/1.1 20", 0, "whether it lets this device in"},
		{"half a name", "HTTP/1.1 200 OK\r\nVi", 0, "whether it lets this device in"},
		{"half an answer", "HTTP/1.1 200 OK\r\nVia: ", 0, "whether it lets this device in"},
		{"only interim", "HTTP/1.1 102 Processing\r\n\r\n", 0, "whether it lets this device in"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", 0, "port and its kind"},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x50", 0, "port and its kind"},
		{"endless header", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 100), 0, "port and its kind"},
		{"endless line", "HTTP/1.1 200 " + strings.Repeat("x", 1<<17), 0, "port and its kind"},
		{"endless waiting", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10000), 0, "port and its kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := listen(t, func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, tt.answer)
			})
			_, err := dial(t, "http://me:hunter2@"+addr, nil)
			wantError(t, err, tt.status, tt.hint)
		})
	}
}

// wantError checks an error, and that no password is in it.
func wantError(t *testing.T, err error, status int, hint string) {
	t.Helper()
	var e *proxydial.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	hints := strings.Join(e.Hints(), "\n")
	if e.Status != status || !strings.Contains(hints, hint) || hint == "" && hints != "" {
		t.Errorf("status %d, %v, hints %s", e.Status, err, hints)
	}
	all := fmt.Sprintf("%v %+v %s", err, e, hints)
	for _, secret := range []string{"hunter2", "wrong", base64.StdEncoding.EncodeToString([]byte("me:hunter2"))} {
		if strings.Contains(all, secret) {
			t.Errorf("the password is in %s", all)
		}
	}
	if len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// An interim answer is waited out.
func TestInterimAnswerIsWaitedOut(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"+greeting)
	})
	if got, err := dial(t, "http://"+addr, nil); err != nil || got != greeting {
		t.Errorf("%q, %v", got, err)
	}
}

// socksProxy is a SOCKS5 server (RFC 1928) that wants the user "me" and the
// password "secret", and gives the reply to every request.
func socksProxy(t *testing.T, reply byte) func(net.Conn) {
	return func(c net.Conn) {
		read := func(n int) []byte {
			b := make([]byte, n)
			io.ReadFull(c, b)
			return b
		}
		methods := read(int(read(2)[1]))
		if !strings.Contains(string(methods), "\x02") {
			c.Write([]byte{5, 0xff})
			return
		}
		c.Write([]byte{5, 2})
		user := string(read(int(read(2)[1])))
		if password := string(read(int(read(1)[0]))); user != "me" || password != "secret" {
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
		if h := read(4); h[1] != 1 || h[3] != 3 {
			t.Errorf("request %v: not CONNECT to a name", h)
			return
		}
		host := string(read(int(read(1)[0])))
		if at := fmt.Sprintf("%s:%d", host, binary.BigEndian.Uint16(read(2))); at != target {
			t.Errorf("asked for %s", at)
		}
		io.WriteString(c, string([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})+greeting)
	}
}

func TestSOCKS5ProxyIsDialledThrough(t *testing.T) {
	addr := listen(t, socksProxy(t, 0))
	for _, scheme := range []string{"socks5", "socks5h"} {
		if got, err := dial(t, scheme+"://me:secret@"+addr, nil); err != nil || got != greeting {
			t.Errorf("%s: %q, %v", scheme, got, err)
		}
	}
	for _, user := range []string{"", "me:hunter2@", "me@"} {
		_, err := dial(t, "socks5://"+user+addr, nil)
		wantError(t, err, 0, "wants a user and password")
	}
	_, err := dial(t, "socks5://me:secret@"+listen(t, socksProxy(t, 2)), nil)
	wantError(t, err, 0, "socks5://")
}

// The connection is the socket itself, so that its options can be set.
func TestSocketIsNotHidden(t *testing.T) {
	for scheme, proxy := range map[string]func(net.Conn){"http": httpProxy(t, true), "socks5": socksProxy(t, 0)} {
		user := "me:secret@"
		if scheme == "http" {
			user = "me:p%40ss%3Aword@"
		}
		p := &proxydial.Proxy{URL: parse(t, scheme+"://"+user+listen(t, proxy))}
		c, err := p.Dial(context.Background(), target)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.(*net.TCPConn); !ok {
			t.Errorf("%s: a %T", scheme, c)
		}
		c.Close()
	}
}

// A proxy that cannot be reached, or is of no known kind.
func TestProxyThatIsNoneIsTold(t *testing.T) {
	addr := testnet.Reserve(t).String()
	_, err := dial(t, "http://me:hunter2@"+addr, nil)
	wantError(t, err, 0, "cannot be reached")
	_, err = dial(t, "ftp://me:hunter2@"+addr, nil)
	wantError(t, err, 0, "")
}

// A proxy that is silent is given up when the context ends.
func TestSilentProxyIsGivenUp(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		ctx, cancel := context.WithCancel(context.Background())
		addr := listen(t, func(c net.Conn) {
			c.Read(make([]byte, 4096)) // the request, and no answer
			cancel()
			c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection was left open", scheme)
			}
		})
		p := &proxydial.Proxy{URL: parse(t, scheme+"://me:hunter2@"+addr)}
		_, err := p.Dial(ctx, target)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
