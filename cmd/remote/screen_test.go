package main

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func aStart(brought bool) start {
	return start{
		url: "https://xyz.relay.net", local: "http://127.0.0.1:3000", brought: brought, stateDir: "/home/me/.local/state/keystay",
		outside: "nobody between: this device's own key at 192.0.2.1:443",
		cert: &x509.Certificate{
			Issuer:   pkix.Name{Organization: []string{"Let's Encrypt"}, CommonName: "E7"},
			NotAfter: time.Date(2027, 2, 26, 12, 0, 0, 0, time.UTC),
		},
	}
}

func TestScreenSaysWhatMatters(t *testing.T) {
	var b bytes.Buffer
	writeStart(&b, 1000, []start{aStart(false)})
	text := b.String()
	if !strings.HasPrefix(strings.TrimSpace(text), "https://xyz.relay.net -> http://127.0.0.1:3000\n") {
		t.Errorf("the address is not first:\n%s", text)
	}
	for _, want := range []string{
		"on this device only", "valid until 26 February 2027, from Let's Encrypt; renewed by itself", "nobody between: this device's own key at 192.0.2.1:443",
		"stays with this device: its identity is in /home/me/.local/state/keystay", "certificate transparency", "Ctrl-C",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

// What a certificate, a service or a path says does not steer the terminal.
func TestScreenShowsNothingThatDoesNotPrint(t *testing.T) {
	const owned = "\x1b]0;owned\a\x1b[2J\u202e\u009b\r"
	for _, issuer := range []pkix.Name{{Organization: []string{"CA " + owned}}, {CommonName: "CA " + owned}} {
		s := start{
			url: "https://a.b/" + owned, local: "http://x/" + owned, stateDir: owned,
			cert: &x509.Certificate{Issuer: issuer}, service: errors.New("its certificate is for " + owned),
		}
		for _, width := range []int{40, 1000} {
			var b bytes.Buffer
			writeStart(&b, width, []start{s})
			if n := strings.Count(b.String(), "]0;owned"); n != 5 {
				t.Errorf("width %d: %d of 5 texts are shown:\n%q", width, n, b.String())
			}
			for _, c := range b.String() {
				if c != '\n' && !unicode.IsPrint(c) {
					t.Errorf("width %d: %q in %q", width, c, b.String())
				}
			}
		}
	}
}

// Nothing is claimed of a certificate that was brought along.
func TestScreenOfBroughtCertificate(t *testing.T) {
	for _, brought := range []bool{false, true} {
		var b bytes.Buffer
		writeStart(&b, 1000, []start{aStart(brought)})
		if got := strings.Contains(b.String(), "public from now on") || strings.Contains(b.String(), "renewed by itself"); got == brought {
			t.Errorf("brought %v:\n%s", brought, b.String())
		}
	}
	var b bytes.Buffer
	s := aStart(true)
	s.cert = nil
	writeStart(&b, 80, []start{s})
	if strings.Contains(b.String(), "Certificate") {
		t.Errorf("an unknown certificate is spoken of:\n%s", b.String())
	}
}

// Where the service ends visitors' TLS the screen says whose key they see, and speaks
// of no certificate of its own.
func TestScreenSaysWhoseKeyVisitorsSee(t *testing.T) {
	passed := start{url: "https://abc.relay.net", local: "tls://127.0.0.1:8443", passed: true}
	for want, all := range map[string][]start{
		"Key the local service's own; the relay and this program pass encrypted bytes on Service":                           {passed},
		"Key on this device only; the relay passes encrypted bytes on. Behind tls:// it is the local service's Certificate": {aStart(false), passed},
		"Key on this device only; the relay passes encrypted bytes on Certificate":                                          {aStart(false), aStart(true)},
	} {
		var b bytes.Buffer
		writeStart(&b, 1000, all)
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, want) {
			t.Errorf("want %q:\n%s", want, text)
		}
	}
	var b bytes.Buffer
	writeStart(&b, 1000, []start{passed})
	if strings.Contains(b.String(), "Certificate") || strings.Contains(b.String(), "public from now on") {
		t.Error(b.String())
	}
}

// The screen says whether the local service was there.
func TestScreenSaysWhetherTheServiceIsThere(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{{nil, "can be reached"}, {errors.New("connection refused"), "cannot be reached yet: connection refused"}} {
		s := aStart(false)
		s.service = c.err
		var b bytes.Buffer
		writeStart(&b, 1000, []start{s})
		if !strings.Contains(b.String(), "Service       "+c.want+"\n") {
			t.Errorf("%v:\n%s", c.err, b.String())
		}
	}
}

func TestScreenFitsTheTerminal(t *testing.T) {
	for _, width := range []int{40, 59, 60, 80, 120} {
		var b bytes.Buffer
		writeStart(&b, width, []start{aStart(false)})
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
		if !strings.Contains(b.String(), "/home/me/.local/state/keystay") || !strings.Contains(b.String(), "https://xyz.relay.net") {
			t.Errorf("a word is broken:\n%s", b.String())
		}
	}
}

// A program gets one line, whatever else a person would be told.
func TestOneLineForPrograms(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	(&process{out: file}).show(aStart(false))
	if b, err := os.ReadFile(file.Name()); string(b) != "https://xyz.relay.net -> http://127.0.0.1:3000\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// The screen of several names has each with its target, the certificate that ends first,
// and which services cannot be reached.
func TestScreenOfSeveralNames(t *testing.T) {
	first, second := aStart(false), aStart(false)
	second.url, second.local, second.service = "https://abc.relay.net", "http://127.0.0.1:4000", errors.New("connection refused")
	second.cert = &x509.Certificate{Issuer: second.cert.Issuer, NotAfter: time.Date(2027, 1, 3, 12, 0, 0, 0, time.UTC)}
	var b bytes.Buffer
	writeStart(&b, 1000, []start{first, second})
	for _, want := range []string{
		"https://xyz.relay.net -> http://127.0.0.1:3000\n", "https://abc.relay.net -> http://127.0.0.1:4000\n",
		"2 of them; the first is valid until 3 January 2027", "cannot be reached yet: http://127.0.0.1:4000: connection refused",
	} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("it does not say %q:\n%s", want, b.String())
		}
	}
}

// Of a TCP port the screen says who can read along, and nothing of keys and
// certificates, which it has not.
func TestScreenSaysThatATCPPortIsNotEncrypted(t *testing.T) {
	port := start{url: "tcp://relay.net:20022", local: "tcp://127.0.0.1:22", passed: true, port: true, stateDir: "/state", outside: lookIsForTLS}
	site := start{url: "https://a.relay.net", local: "http://127.0.0.1:3000", outside: "the device's own key"}
	for name, all := range map[string][]start{"alone": {port}, "beside a name": {port, site}} {
		var b strings.Builder
		writeStart(&b, 200, all)
		text := strings.Join(strings.Fields(b.String()), " ")
		for _, want := range []string{"tcp://relay.net:20022 -> tcp://127.0.0.1:22 (not encrypted here: the relay sees these bytes)",
			"TCP ports not encrypted by keystay: the relay, and everybody on the way, can read"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
		if has := strings.Contains(text, "Key on this device only"); has != (len(all) == 2) || strings.Contains(text, "local service's own") {
			t.Errorf("%s: of the key it says\n%s", name, b.String())
		}
		if strings.Contains(text, lookIsForTLS) {
			t.Errorf("%s: it says that a port is not looked at\n%s", name, b.String())
		}
	}
}
