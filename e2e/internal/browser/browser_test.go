package browser_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"image/png"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keystay/e2e/internal/browser"
)

// host is the name that the tests publish their page under, otherHost one
// more that the certificate is good for.
const (
	host      = "xyz.relay.test"
	otherHost = "other.relay.test"
)

// find returns the browser that a test needs. Without it the test fails,
// unless KEYSTAY_SKIP_BROWSERS is set.
func find(t *testing.T, kind browser.Kind) browser.Browser {
	t.Helper()
	b, err := browser.Find(kind)
	if err != nil {
		if os.Getenv("KEYSTAY_SKIP_BROWSERS") != "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	b.Hosts = []string{host}
	return b
}

// both runs a test with each browser.
func both(t *testing.T, test func(t *testing.T, b browser.Browser)) {
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) { test(t, find(t, kind)) })
	}
}

// A page that does its work over a trusted connection says so, and the
// picture is taken when it has.
func TestPageSaysThatAllWentWell(t *testing.T) {
	both(t, func(t *testing.T, b browser.Browser) {
		t.Run("h2", func(t *testing.T) { testPage(t, b, "h2") })
		t.Run("http1", func(t *testing.T) { testPage(t, b, "http/1.1") })
	})
}

func testPage(t *testing.T, b browser.Browser, protocol string) {
	var site browser.Site
	server := serve(t, &site, protocol)
	b.CA = server.ca
	file := screenshotFile(t, t.Name()+".png")
	if err := b.Screenshot(t.Context(), server.url, file); err != nil {
		t.Fatal(err)
	}
	report := reported(t, &site)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Protocol != protocol {
		t.Errorf("page came over %q, want %q", report.Protocol, protocol)
	}
	for _, check := range report.Checks {
		t.Logf("%s: %s (%v ms)", check.Name, check.Detail, check.MS)
	}
	// Cells are green only at the end.
	checkColour(t, file, 0xbf, 0xe8, 0xbf)
	if !slices.ContainsFunc(site.Requests(), func(r browser.Request) bool {
		return r.Path == "/ws" && r.Proto == "HTTP/1.1" && strings.HasPrefix(r.Host, host+":")
	}) {
		t.Error("no WebSocket request on record")
	}
}

// What is held back or changed on the way is red, and only that.
func TestPageSeesDamage(t *testing.T) {
	both(t, func(t *testing.T, b browser.Browser) {
		site := browser.Site{Limit: 8 * time.Second}
		server := serve(t, damage(&site), "h2")
		b.CA = server.ca
		file := screenshotFile(t, t.Name()+".png")
		if err := b.Screenshot(t.Context(), server.url, file); err != nil {
			t.Fatal(err)
		}
		report := reported(t, &site)
		for _, check := range report.Checks {
			if want := check.Name == "page" || check.Name == "websocket"; check.OK != want {
				t.Errorf("%s: ok is %v, want %v: %s", check.Name, check.OK, want, check.Detail)
			}
		}
		if err := report.Err(); err == nil {
			t.Error("Err is nil for a report with failures")
		}
		checkColour(t, file, 0xf4, 0xb6, 0xb6)
	})
}

// Without the root, a browser refuses the certificate: no page, no report.
func TestUntrustedCertificateShowsNoPage(t *testing.T) {
	both(t, func(t *testing.T, b browser.Browser) {
		var site browser.Site
		server := serve(t, &site, "h2")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		opened := make(chan error, 1)
		go func() { opened <- b.Open(ctx, server.url) }()
		select {
		case line := <-server.refused:
			t.Log(line)
		case err := <-opened:
			t.Fatalf("browser ended before it refused the certificate: %v", err)
		}
		cancel()
		if err := <-opened; err != nil {
			t.Errorf("Open: %v", err)
		}
		if requests := site.Requests(); len(requests) > 0 {
			t.Errorf("a page was asked for without trust: %+v", requests)
		}
	})
}

// A name leads to the server only if it is in Hosts.
func TestNameLeadsToTheServerOnlyFromHosts(t *testing.T) {
	both(t, func(t *testing.T, b browser.Browser) {
		for _, hosts := range [][]string{{host}, {host, otherHost}} {
			var asked atomic.Bool
			server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.Host, otherHost) {
					asked.Store(true)
				}
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, "<img src='https://%s/'>", strings.Replace(r.Host, host, otherHost, 1))
			}), "h2")
			b.CA, b.Hosts = server.ca, hosts
			if err := b.Screenshot(t.Context(), server.url, screenshotFile(t, t.Name()+".png")); err != nil {
				t.Fatal(err)
			}
			if want := len(hosts) == 2; asked.Load() != want {
				t.Errorf("with hosts %v: %s was asked is %v, want %v", hosts, otherHost, !want, want)
			}
		}
	})
}

// Open keeps a page until it is told to stop.
func TestOpenKeepsAPageUntilItIsTold(t *testing.T) {
	both(t, func(t *testing.T, b browser.Browser) {
		site := browser.Site{UploadSize: 1, DownloadSize: 1}
		server := serve(t, &site, "h2")
		b.CA = server.ca
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		opened := make(chan error, 1)
		go func() { opened <- b.Open(ctx, server.url) }()
		select {
		case report := <-site.Reports():
			if err := report.Err(); err != nil {
				t.Error(err)
			}
		case err := <-opened:
			t.Fatalf("Open ended: %v", err)
		}
		cancel()
		if err := <-opened; err != nil {
			t.Errorf("Open: %v", err)
		}
	})
}

func reported(t *testing.T, site *browser.Site) browser.Report {
	t.Helper()
	select {
	case report := <-site.Reports():
		return report
	default:
		t.Fatalf("no report; requests: %+v", site.Requests())
		panic("unreachable")
	}
}

// screenshotFile names a picture: in $KEYSTAY_SCREENSHOTS, to look at, or in
// a folder that goes away.
func screenshotFile(t *testing.T, name string) string {
	dir := os.Getenv("KEYSTAY_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	return filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
}

// checkColour fails the test unless at least a cell's worth of the picture
// has a colour.
func checkColour(t *testing.T, file string, red, green, blue uint32) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	const cell = 200 // pixels
	n := 0
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if r, g, b, _ := picture.At(x, y).RGBA(); r>>8 == red && g>>8 == green && b>>8 == blue {
				n++
			}
		}
	}
	if n < cell {
		t.Errorf("%s: %d pixels of colour #%02x%02x%02x, want %d or more", file, n, red, green, blue, cell)
	}
}

// damage stands in for a proxy that keeps events back and changes a byte of
// what is transferred in either direction.
func damage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w = unflushed{w}
		case "/download":
			w = flipped{w}
		case "/upload":
			r.Body = flippedBody{r.Body}
		}
		next.ServeHTTP(w, r)
	})
}

// unflushed is a response whose Flush does nothing.
type unflushed struct{ http.ResponseWriter }

func (unflushed) Flush() {}

// flipped is a response in which the first byte of each write is another.
type flipped struct{ http.ResponseWriter }

func (f flipped) Write(p []byte) (int, error) {
	q := slices.Clone(p)
	q[0]++
	return f.ResponseWriter.Write(q)
}

// flippedBody is a body in which the first byte of each read is another.
type flippedBody struct{ io.ReadCloser }

func (f flippedBody) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		p[0]++
	}
	return n, err
}

// A server is an HTTPS server on loopback and the root of its certificate.
type server struct {
	url     string
	ca      []byte        // PEM
	refused <-chan string // what clients said who did not like the certificate
}

// serve serves a handler over HTTPS for the length of the test, by one
// protocol: "h2" or "http/1.1". A WebSocket gets HTTP/1.1 with either.
func serve(t *testing.T, handler http.Handler, protocol string) server {
	t.Helper()
	ca, cert := issue(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(protocol == "h2")
	refused := make(refusals, 1)
	srv := &http.Server{
		Handler:   handler,
		Protocols: &protocols,
		ErrorLog:  log.New(refused, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, "", "") }()
	t.Cleanup(func() {
		srv.Close()
		<-served
	})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return server{"https://" + host + ":" + port + "/", ca, refused}
}

// refusals is an error log that keeps the first complaint about a
// certificate. The alerts are those of RFC 8446, section 6.2.
type refusals chan string

func (r refusals) Write(line []byte) (int, error) {
	text := string(line)
	if strings.Contains(text, "remote error: tls:") && strings.Contains(text, "certificate") {
		select {
		case r <- strings.TrimSpace(text):
		default:
		}
	}
	return len(line), nil
}

// issue makes a root and a certificate for host signed by it.
func issue(t *testing.T) (ca []byte, cert tls.Certificate) {
	t.Helper()
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "throw-away root"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host, otherHost},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, leafKey := newKey(t), newKey(t)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	return ca, tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
