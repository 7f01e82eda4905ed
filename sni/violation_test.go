package sni_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"testing"

	"keystay/sni"
)

// answered is a wire that keeps what is written to it.
type answered struct {
	wire
	said bytes.Buffer
}

func (a *answered) Write(p []byte) (int, error) { return a.said.Write(p) }

// theirAlert is the fatal alert that crypto/tls answers b with, before it knows what
// the hello asks for; 0 is none.
func theirAlert(t testing.TB, b []byte) sni.Alert {
	t.Helper()
	a := &answered{wire: wire{r: bytes.NewReader(b)}}
	seen := false
	tls.Server(a, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		seen = true
		return nil, errSeen
	}}).Handshake()
	said := a.said.Bytes()
	if seen || len(said) == 0 {
		return 0
	}
	if len(said) != 7 || said[0] != 21 || said[5] != 2 {
		t.Fatalf("crypto/tls says % x", said)
	}
	return sni.Alert(said[6])
}

// A hello that is broken is answered as crypto/tls answers it, but for what AlertFor
// says.
func TestAlertsAreThoseOfCryptoTLS(t *testing.T) {
	hello := golden(t)["go.bin"][5:]
	warning := record(21, []byte{1, 90})
	body := hello[4:]
	exts := func(e ...[]byte) []byte { return record(22, message(e...)) }
	for _, c := range []struct {
		what string
		b    []byte
		want sni.Alert
		own  bool // where crypto/tls differs
	}{
		{what: "a message cut short", b: record(22, handshake(1, body[:20])), want: sni.AlertDecodeError},
		{what: "an empty message", b: record(22, handshake(1, nil)), want: sni.AlertDecodeError},
		{what: "one byte, as in a bug report", b: []byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0}, want: sni.AlertDecodeError},
		{what: "trailing data", b: record(22, handshake(1, append(slices.Clone(body), 0))), want: sni.AlertDecodeError},
		{what: "two server_name extensions", b: exts(serverName("a.test"), serverName("a.test")), want: sni.AlertDecodeError},
		{what: "two of an unknown extension", b: exts(ext(0x7777), ext(0x7777)), want: sni.AlertDecodeError},
		{what: "two host names", b: exts(ext(0, vec16(entry(0, "a.test"), entry(0, "b.test")))), want: sni.AlertDecodeError},
		{what: "an empty name", b: exts(serverName("")), want: sni.AlertDecodeError},
		{what: "no name in the list", b: exts(ext(0, vec16())), want: sni.AlertDecodeError},
		{what: "a name beyond its extension", b: exts(ext(0, []byte{0, 9, 0, 0, 9, 'a'})), want: sni.AlertDecodeError},
		{what: "no protocol in the list", b: exts(ext(16, vec16())), want: sni.AlertDecodeError},
		{what: "an empty record", b: []byte{22, 3, 1, 0, 0}, want: sni.AlertUnexpectedMessage},
		{what: "an empty record within", b: cat(split(hello[:9], 9), []byte{22, 3, 1, 0, 0}), want: sni.AlertUnexpectedMessage},
		{what: "a ServerHello", b: record(22, handshake(2, body)), want: sni.AlertUnexpectedMessage, own: true},
		{what: "a Finished", b: record(22, handshake(20, make([]byte, 12))), want: sni.AlertUnexpectedMessage},
		{what: "an unknown message", b: record(22, handshake(99, body)), want: sni.AlertUnexpectedMessage},
		{what: "17 warnings", b: bytes.Repeat(warning, 17), want: sni.AlertUnexpectedMessage},
		{what: "an alert of three bytes", b: record(21, []byte{1, 90, 0}), want: sni.AlertUnexpectedMessage},
		{what: "an alert of no level", b: record(21, []byte{3, 90}), want: sni.AlertUnexpectedMessage},
		{what: "a fatal alert", b: record(21, []byte{2, 90})},
		{what: "close_notify", b: record(21, []byte{1, 0})},
		{what: "a record of 2^14+1 bytes", b: record(22, make([]byte, 1<<14+1)), want: sni.AlertRecordOverflow},
		{what: "a record of 2^16-1 bytes", b: record(22, make([]byte, 1<<16-1)), want: sni.AlertRecordOverflow},
		{what: "SSLv2", b: []byte{0x80, 0x2e, 1, 3, 1, 0}, want: sni.AlertProtocolVersion},
		{what: "application data first", b: record(23, make([]byte, 9))},
		{what: "change_cipher_spec first", b: record(20, []byte{1})},
		{what: "application data within", b: cat(split(hello[:9], 9), record(23, make([]byte, 9))), want: sni.AlertUnexpectedMessage, own: true},
		{what: "change_cipher_spec within", b: cat(split(hello[:9], 9), record(20, []byte{1})), want: sni.AlertUnexpectedMessage, own: true},
		{what: "version 16.0 within", b: cat(split(hello[:9], 9), []byte{22, 16, 0, 0, 1, 0}), want: sni.AlertProtocolVersion, own: true},
		{what: "a message of 2^24-1 bytes", b: []byte{22, 3, 1, 0, 4, 1, 255, 255, 255}, want: sni.AlertInternalError},
		{what: "HTTP", b: []byte("GET / HTTP/1.1\r\n\r\n")},
		{what: "SSH", b: []byte("SSH-2.0-OpenSSH_9\r\n")},
		{what: "half of it", b: record(22, hello)[:50]},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := sni.Read(&wire{r: bytes.NewReader(c.b)}, nil)
			got, ok := sni.AlertFor(err)
			if got != c.want || ok != (c.want != 0) {
				t.Errorf("%v: %v, %v; want %v", err, got, ok, c.want)
			}
			if theirs := theirAlert(t, c.b); (theirs == c.want) == c.own {
				t.Errorf("crypto/tls says %v", theirs)
			}
		})
	}
}

// The same of the corpus, whatever is wrong with each.
func TestAlertsAreThoseOfCryptoTLSOnCorpus(t *testing.T) {
	alerts := make(map[sni.Alert]int)
	for i, b := range corpus(t) {
		_, err := sni.Read(&wire{r: bytes.NewReader(b)}, nil)
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			continue
		}
		got, _ := sni.AlertFor(err)
		alerts[got]++
		theirs := theirAlert(t, b)
		within := theirs == 0 && (got == sni.AlertUnexpectedMessage || got == sni.AlertProtocolVersion)
		other := theirs == sni.AlertDecodeError && got == sni.AlertUnexpectedMessage
		if got != theirs && !within && !other && !errors.Is(err, sni.ErrTooLarge) {
			t.Errorf("hello %d: %v, %v; crypto/tls says %v", i, err, got, theirs)
		}
	}
	t.Log(alerts)
}

// The first bytes tell HTTP/1 from anything else, however they come, and no more is
// read than that takes.
func TestLooksLikeHTTP(t *testing.T) {
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\n": true, "HEAD / ": true, "POST /x": true, "PUT /": true, "DELETE /": true, "OPTIONS *": true, "PATCH /": true, "CONNECT a:1": true, "TRACE /": true,
		"": false, "G": false, "GET": false, "GETX": false, "get / ": false, "SSH-2.0-x\r\n": false, "PRI * HTTP/2.0\r\n": false, "PROXY TCP4 ": false, "\x00\x00": false,
	} {
		for n := range min(len(text), 3) + 1 {
			rest := bytes.NewReader([]byte(text[n:]))
			if got := sni.LooksLikeHTTP(rest, []byte(text[:n])); got != want {
				t.Errorf("%q, %d bytes read: %v", text, n, got)
			}
			if read := len(text) - rest.Len(); read > 8 {
				t.Errorf("%q: %d bytes were read", text, read)
			}
		}
	}
}
