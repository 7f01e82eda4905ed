package remote_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote"
)

// answers lets f serve each connection to an address on loopback.
func answers(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	return testnet.Serve(t, f).String()
}

// A proxy that answers CONNECT with this.
func proxyThat(answer string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, answer)
		}
	}
}

// plainHTTP is a web server without TLS.
func plainHTTP(c net.Conn) {
	c.Read(make([]byte, 4096))
	io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
}

// shows is a TLS server with a certificate.
func shows(cert tls.Certificate) func(net.Conn) {
	return func(c net.Conn) {
		tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{framing.Protocol, "http/1.1"}}).Handshake()
	}
}

// A remote that goes on logs what keeps it from its relay, and what to do about
// it, however that is reached.
func TestLogHasTheHintOfEachFailure(t *testing.T) {
	ca := testca.New(t)
	now := time.Now()
	root := testca.New(t)
	alone := root.Intermediate("test intermediate").Issue(zone) // without its chain
	const noProxy = ""
	for name, c := range map[string]struct {
		answers func(net.Conn)
		proxy   string // what comes before its address in its URL
		roots   *x509.CertPool
		err     string
		hint    string
	}{
		"proxy without a password": {proxyThat("HTTP/1.1 407 X\r\n\r\n"), "http://", nil, "407", "hint=\"the proxy wants a user and password: --proxy"},
		"proxy, wrong password":    {proxyThat("HTTP/1.1 407 X\r\n\r\n"), "http://me:hunter2@", nil, "to the user and password that it was given", "those in its URL were refused"},
		"proxy wants NTLM":         {proxyThat("HTTP/1.1 407 X\r\nProxy-Authenticate: NTLM\r\n\r\n"), "http://me:hunter2@", nil, "407", "cntlm"},
		"proxy forbids":            {proxyThat("HTTP/1.1 403 X\r\n\r\n"), "http://", nil, "403", "most allow port 443 alone"},
		"proxy cannot reach it":    {proxyThat("HTTP/1.1 502 X\r\n\r\n"), "http://", nil, "502", "the proxy cannot reach the relay"},
		"no proxy at all":          {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); io.Copy(io.Discard, c) }, "http://", nil, "no HTTP proxy", "check the proxy's port and its kind"},
		"proxy sends elsewhere":    {proxyThat("HTTP/1.1 302 X\r\nLocation: http://login.test/\r\n\r\n"), "http://", nil, "302", "open a page in a browser on this network first"},
		"proxy hangs up":           {proxyThat(""), "http://", nil, "without an answer", "whether it lets this device in"},
		"proxy says yes and ends":  {proxyThat("HTTP/1.1 200 X\r\n\r\n"), "http://me:hunter2@", nil, "through the proxy http://127.0.0.1:", "hint=\"the proxy said yes and then did not carry TLS"},
		"proxy shows its own page": {proxyThat("HTTP/1.1 200 X\r\nContent-Length: 13\r\n\r\n<html></html>"), "http://", nil, "through the proxy http://127.0.0.1:", "hint=\"the proxy said yes and then did not carry TLS"},
		"no SOCKS proxy":           {plainHTTP, "socks5://", nil, "proxy socks5://", "if the proxy wants a user and password"},
		"HTTPS proxy, plain":       {plainHTTP, "https://", nil, "first record", "check the proxy's port and its kind"},
		"HTTPS proxy, untrusted":   {shows(ca.Issue("127.0.0.1")), "https://", nil, "certificate", "the certificate of an https:// proxy"},
		"reset":                    {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, noProxy, nil, "reset", "something on the path may break the connection"},
		"closed":                   {func(c net.Conn) { c.Read(make([]byte, 16<<10)) }, noProxy, nil, "closed the connection instead", "something on the path may break the connection"},
		"plain HTTP":               {plainHTTP, noProxy, nil, "does not look like a TLS handshake", "hint=\"what answers there speaks no TLS"},
		"another name":             {func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 112}) }, noProxy, nil, "under another name", "check --relay and --relay-address"},
		"no certificate yet":       {func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }, noProxy, nil, "no certificate yet", "its own log says which"},
		"certificate has expired":  {shows(ca.IssueValid(now.Add(-2*time.Hour), now.Add(-time.Hour), zone)), noProxy, nil, "expired", "its operator has to renew it; unless this device's clock is wrong, which says " + now.Format("2006")},
		"certificate is too new":   {shows(ca.IssueValid(now.Add(time.Hour), now.Add(2*time.Hour), zone)), noProxy, nil, "is before", "this device's clock says " + now.Format("2006")},
		"certificate of another":   {shows(ca.Issue("other.test")), noProxy, nil, "other.test", "what answers there is not this relay"},
		"no intermediate":          {shows(alone), noProxy, root.Pool(), "unknown authority", `hint="the relay's certificate is not from a root in the file of --relay-root: it was issued by \"test intermediate\"; give the root of that CA, or leave --relay-root out for a relay with a certificate of a known CA; if the root is the right one, the relay sends its certificate without the intermediate`},
		"unknown CA":               {shows(ca.Issue(zone)), noProxy, root.Pool(), "unknown authority", "hint=\"the relay's certificate is not from a root in the file of --relay-root"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := answers(t, c.answers)
			logged := make(lines, 100)
			cfg := remote.Config{Domain: domain, Relays: []string{zone}, RelayAddresses: []string{addr}, Links: 1, StateDir: t.TempDir(),
				RelayRoots: c.roots, TLS: &tls.Config{}, Proxy: none, Logger: slog.New(slog.NewTextHandler(logged, nil))}
			if c.roots == nil {
				cfg.RelayRoots = ca.Pool()
			}
			if c.proxy != "" {
				u, err := url.Parse(c.proxy + addr)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Proxy = http.ProxyURL(u)
			}
			ln, err := remote.Listen(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer end(ln)
			for line := range logged {
				if !strings.Contains(line, "no session with the relay") {
					continue
				}
				if !strings.Contains(line, c.err) || !strings.Contains(line, c.hint) || strings.Contains(line, "hunter2") {
					t.Errorf("%s\nwant %s\nand %s", line, c.err, c.hint)
				}
				return
			}
		})
	}
}
