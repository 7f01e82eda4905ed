package acme

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/hint"
	"keystay/internal/proxydial"
	"keystay/internal/testnet"
)

// problemCA is a CA that gives accounts and answers orders, or registrations
// where account is set, with a problem.
func problemCA(account bool, kind, detail string, status int, header ...string) caFunc {
	header = append(header, "Replay-Nonce", "n")
	answer := []string{"Content-Type", "application/json", "Replay-Nonce", "n"}
	return func(r *http.Request) (*http.Response, error) {
		switch {
		case r.Method == http.MethodGet:
			return reply(200, strings.NewReader(`{"newNonce":"https://ca.test/n","newAccount":"https://ca.test/a","newOrder":"https://ca.test/o"}`), answer...), nil
		case r.Method == http.MethodHead:
			return reply(200, http.NoBody, answer...), nil
		case r.URL.Path == "/a" && !account:
			return reply(201, strings.NewReader(`{"status":"valid"}`), append(answer, "Location", "https://ca.test/a/1")...), nil
		}
		body, err := json.Marshal(map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status,
			"instance": "https://ca.test/terms", "subproblems": []any{map[string]string{"type": "x", "detail": "a detail of its own"}}})
		if err != nil {
			return nil, err
		}
		return reply(status, bytes.NewReader(body), header...), nil
	}
}

// One failed order is one line above debug that names the CA and the cause, with
// what to do about it.
func TestFailedOrderIsOneLineWithCauseAndHint(t *testing.T) {
	dial := func(err error) caFunc {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	page := func(status int, kind string) caFunc {
		return func(*http.Request) (*http.Response, error) {
			return reply(status, strings.NewReader("<p>hello\nworld"), "Content-Type", kind), nil
		}
	}
	for _, c := range []struct {
		what   string
		ca     caFunc
		text   string
		advice *hint.Advice
	}{
		{"down", dial(&os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}), "the CA ca.test cannot be reached: connect: connection refused", hint.CAAway},
		{"not trusted", dial(x509.UnknownAuthorityError{}), "the CA ca.test cannot be reached: x509: certificate signed by unknown authority", hint.CAUntrusted},
		{"another server", dial(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"x.test"}}, Host: "ca.test"}), "the CA ca.test cannot be reached: x509: certificate is valid for x.test, not ca.test", hint.CAOtherName},
		{"another server without the name", dial(&net.OpError{Op: "remote error", Err: tls.AlertError(112)}), "the CA ca.test cannot be reached: remote error: ", hint.CAOtherName},
		{"a server without TLS", dial(http.ErrSchemeMismatch), "the CA ca.test cannot be reached: http: server gave HTTP response to HTTPS client", hint.CAOtherName},
		{"something without TLS", dial(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "the CA ca.test cannot be reached: tls: first record does not look like a TLS handshake", hint.CAOtherName},
		{"a clock", dial(x509.CertificateInvalidError{Reason: x509.Expired}), "the CA ca.test cannot be reached: x509: certificate has expired or is not yet valid", hint.CAOtherClock},
		{"a proxy without a password", dial(&proxyError{407}), "the CA ca.test cannot be reached: the proxy answers CONNECT with 407", hint.CAProxySignIn},
		{"a proxy that forbids", dial(&proxyError{403}), "the CA ca.test cannot be reached: the proxy answers CONNECT with 403", hint.CAProxyForbids},
		{"a proxy to sign in at", dial(&proxyError{302}), "the proxy answers CONNECT with 302", hint.CAProxyPortal},
		{"a proxy that cannot", dial(&proxyError{502}), "the proxy answers CONNECT with 502", hint.CAProxyCannot},
		{"a proxy that is none", dial(&proxyError{501}), "the proxy answers CONNECT with 501", hint.CAProxyNone},
		{"a proxy without CONNECT", dial(&proxyError{404}), "the proxy answers CONNECT with 404", hint.CAProxyNone},
		{"a proxy that is away", dial(&net.OpError{Op: "proxyconnect", Net: "tcp", Err: syscall.ECONNREFUSED}), "the CA ca.test cannot be reached: proxyconnect tcp: connection refused", hint.CAProxyAway},
		{"a SOCKS proxy that refuses", dial(&net.OpError{Op: "socks connect", Net: "tcp", Err: errors.New("unknown error host unreachable")}), "the CA ca.test cannot be reached: socks connect tcp: unknown error host unreachable", hint.CAProxySOCKS},
		{"wrong path", page(404, "text/plain"), " is no ACME directory: it answers with HTTP 404", hint.CANoDirectory},
		{"a web page", page(200, "text/html"), " is no ACME directory: what it answers is something else", hint.CANoDirectory},
		{"other JSON", page(200, "application/json"), " is no ACME directory: what it answers is something else", hint.CANoDirectory},
		{"in trouble", page(503, "text/html"), "the CA ca.test has trouble of its own: HTTP 503", hint.CATrouble},
		{"a redirect into the clear", func(r *http.Request) (*http.Response, error) {
			return reply(302, http.NoBody, "Location", "http://ca.test/dir"), nil
		}, "the CA sends to http://ca.test/dir, which is not https", hint.CANotHTTPS},
		{"a directory into the clear", func(*http.Request) (*http.Response, error) {
			return reply(200, strings.NewReader(`{"newNonce":"http://ca.test/n","newAccount":"http://ca.test/a","newOrder":"http://ca.test/o"}`), "Content-Type", "application/json"), nil
		}, "the CA sends to http://ca.test/n, which is not https", hint.CANotHTTPS},
		{"the name", problemCA(false, "rejectedIdentifier", "no such zone", 400), "the CA refused: rejectedIdentifier: no such zone; a detail of its own", hint.CANoName},
		{"the kind of name", problemCA(false, "unsupportedIdentifier", "", 400), "the CA refused: unsupportedIdentifier: a detail of its own", hint.CANoName},
		{"CAA", problemCA(false, "caa", "CAA forbids", 403), "the CA refused: caa: CAA forbids", hint.NameForbidden},
		{"limit", problemCA(false, "rateLimited", "too many", 429, "Retry-After", "3600"), "the CA refused: rateLimited: too many; a detail of its own; it asks to wait until 2000-01-01T01:", hint.CALimit},
		{"terms", problemCA(false, "userActionRequired", "new terms", 403), "the CA refused: userActionRequired: new terms", hint.CATerms},
		{"binding wanted", problemCA(true, "externalAccountRequired", "bind", 403), "the CA refused: externalAccountRequired: bind", hint.CABinding},
		{"contact", problemCA(true, "invalidContact", "bad mail", 400), "the CA refused: invalidContact: bad mail", hint.CAContact},
		{"inside trouble", problemCA(false, "serverInternal", "oops", 500), "the CA refused: serverInternal: oops", hint.CATrouble},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				k, events := newKeeper(t, Config{Logger: slog.New(slog.NewTextHandler(&out, nil))}, c.ca)
				manage(t, k)
				ev := next(events, Failed)
				var failure *Failure
				if !errors.As(ev.Err, &failure) || failure.CA != "ca.test" || !strings.Contains(failure.Error(), c.text) {
					t.Errorf("%v, want %q", ev.Err, c.text)
				}
				want := c.advice.With("HOST", "ca.test", "NOW", time.Now().Format(time.RFC3339), "PAGE", "https://ca.test/terms")
				if got := hint.All(ev.Err); strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("hints %q, want %q", got, want)
				}
				k.Close()
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				if len(lines) != 2 || !strings.Contains(lines[0], "ordering certificate") || !strings.Contains(lines[1], "no certificate obtained") ||
					!strings.Contains(lines[1], "hint=") || !strings.Contains(lines[1], "or at once after a restart") || len(lines[1]) > 1200 {
					t.Errorf("log:\n%s", out.String())
				}
			})
		})
	}
}

// The binding is at fault where a registration with one is refused.
func TestRefusedBindingIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{EABKeyID: "kid", EABMACKey: "c2VjcmV0"}, problemCA(true, "malformed", "error in cryptographic primitive", 400))
		manage(t, k)
		ev := next(events, Failed)
		if !strings.HasPrefix(ev.Err.Error(), "the CA did not take the external account: malformed: error in cryptographic primitive") {
			t.Error(ev.Err)
		}
		if got := hint.All(ev.Err); len(got) != 1 || got[0] != hint.CAWrongBinding.Do[0] {
			t.Errorf("hints %q", got)
		}
		k.Close()
	})
}

// What a CA says is one line of a bounded length, whatever it sends.
func TestWordsOfTheCAAreOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{}, problemCA(false, "caa", strings.Repeat("a\r\n\x1b[31mé ", 500), 403))
		manage(t, k)
		var p *Problem
		if ev := next(events, Failed); !errors.As(ev.Err, &p) || len(p.Detail) > maxDetail+len("…") || strings.ContainsAny(ev.Err.Error(), "\r\n\x1b") {
			t.Errorf("%q", ev.Err)
		}
		k.Close()
	})
}

// A folder that cannot be written is not the CA's fault: the error names the
// file, and no other CA is asked.
func TestFolderThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		k, events := newKeeper(t, Config{OtherCAs: []string{"https://other.test"}}, func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Host)
			return offline(r)
		})
		if err := os.WriteFile(k.store.Filename("locks"), nil, 0o600); err != nil { // a file where a folder must be
			t.Fatal(err)
		}
		manage(t, k)
		var ferr *FileError
		if ev := next(events, Failed); !errors.As(ev.Err, &ferr) || ferr.Path != k.store.Filename("locks") {
			t.Errorf("%v", ev.Err)
		}
		if len(asked) != 0 {
			t.Errorf("asked %q", asked)
		}
		k.Close()
	})
}

// A CA's proxy that is away is named with the variable that it is from.
func TestProxyOfTheEnvironmentIsNamed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ln.Close()
	for _, scheme := range []string{"http", "socks5"} {
		for _, name := range proxydial.Variables() {
			t.Setenv(name, "")
		}
		t.Setenv("ALL_PROXY", scheme+"://me:hunter2@"+at)
		client := newHTTPClient(nil, nil)
		_, err := client.Get("https://ca.test/directory")
		client.CloseIdleConnections()
		f := &Failure{CA: "ca.test"}
		f.away(err)
		hints := strings.Join(f.Hints(), "\n")
		if !strings.Contains(f.Error(), at+", which ALL_PROXY names") || !strings.Contains(hints, "in ALL_PROXY") || strings.Contains(f.Error()+hints, "hunter2") {
			t.Errorf("%v, %s", f, hints)
		}
	}
}

// A SOCKS proxy that is there and refuses is not told as one that is away.
func TestSOCKSProxyThatRefusesIsNotAway(t *testing.T) {
	at := testnet.Serve(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 3)) // RFC 1928, section 3
		c.Write([]byte{5, 0xff})        // no acceptable methods
	}).String()
	for _, name := range proxydial.Variables() {
		t.Setenv(name, "")
	}
	t.Setenv("ALL_PROXY", "socks5://"+at)
	client := newHTTPClient(nil, nil)
	_, err := client.Get("https://ca.test/directory")
	client.CloseIdleConnections()
	f := &Failure{CA: "ca.test"}
	f.away(err)
	if hints := strings.Join(f.Hints(), "\n"); strings.Contains(hints, "cannot be reached") || !strings.Contains(hints, "ALL_PROXY=socks5://USER") {
		t.Errorf("%v, %s", f, hints)
	}
}
