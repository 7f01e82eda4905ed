package browser_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/remote/watch/browser"
)

// unfit are certificates that browsers pass over where they stand behind a leaf, and that
// Go's library does not.
func unfit(t *testing.T) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := []byte{0x55, 0xaa, 0x55, 0xaa}
	made := func(public any) []byte {
		c := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: "unfit"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, public, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	long := new(big.Int).Lsh(big.NewInt(1), 16383)
	return map[string][]byte{
		"junk":             []byte("junk"),
		"nothing":          {},
		"a long RSA key":   made(&rsa.PublicKey{N: long.Add(long, big.NewInt(12345)), E: 65537}),
		"a serial below 0": bytes.Replace(made(&key.PublicKey), append([]byte{2, 4}, serial...), []byte{2, 4, 0xd5, 0xaa, 0x55, 0xaa}, 1),
	}
}

// What stands behind the leaf can make the handshake fail, and hides nothing.
func TestTheLeafIsKeptWhateverIsBehindIt(t *testing.T) {
	cert := testca.New(t).Issue("xyz.relay.example")
	for what, der := range unfit(t) {
		cert.Certificate = [][]byte{cert.Certificate[0], der}
		for _, shape := range browser.Shapes() {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(fmt.Sprint(what, " ", shape, " ", tls.VersionName(version)), func(t *testing.T) {
					client, _, err, _ := meet(t, shape, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version})
					if err == nil {
						t.Fatal("the handshake has not failed")
					}
					if chain := client.Chain(); len(chain) != 2 || !bytes.Equal(chain[0], cert.Certificate[0]) || !bytes.Equal(chain[1], der) {
						t.Errorf("%d certificates are kept", len(chain))
					}
				})
			}
		}
	}
}

// The version of the first record is minded neither by the library nor by some browsers, and
// hides nothing either.
func TestTheVersionOfTheFirstRecordHidesNothing(t *testing.T) {
	cert := testca.New(t).Issue("xyz.relay.example")
	cert.Certificate = [][]byte{cert.Certificate[0], []byte("junk")}
	for _, shape := range browser.Shapes() {
		for _, version := range []byte{0, 2, 15} {
			a, b := memconn.Pipe(1 << 16)
			client, err := browser.Client(a, "xyz.relay.example", shape)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				defer b.Close()
				_ = tls.Server(&oddVersion{Conn: b, version: version}, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
			}()
			err = client.Handshake(context.Background())
			a.Close()
			<-served
			if chain := client.Chain(); err == nil || len(chain) != 2 || !bytes.Equal(chain[0], cert.Certificate[0]) {
				t.Errorf("%s, version %d.0: %d certificates are kept; %v", shape, version, len(chain), err)
			}
		}
	}
}

// An oddVersion writes another version in its first record.
type oddVersion struct {
	net.Conn
	version byte
	over    bool
}

func (c *oddVersion) Write(p []byte) (int, error) {
	if !c.over {
		c.over, p = true, append([]byte{p[0], c.version, 0}, p[3:]...)
	}
	return c.Conn.Write(p)
}

// A server is elsewhere where its first record says at once that there is no TLS for the name,
// whatever comes later, and in no other case: browsers may go on.
func TestWhoSaysAtOnceThatThereIsNoTLSIsElsewhere(t *testing.T) {
	noSuchName := []byte{21, 3, 3, 0, 2, 2, 112}
	warning := []byte{21, 3, 3, 0, 2, 1, 112}
	for what, c := range map[string]struct {
		says      []byte
		elsewhere bool
	}{
		"another protocol":              {[]byte("SSH-2.0-test\r\n"), true},
		"less than a record of another": {[]byte("no"), true},
		"that it has not got the name":  {noSuchName, true},
		"as a warning":                  {warning, false},
		"behind a warning":              {append(slices.Clone(warning), noSuchName...), false},
		"another alert":                 {[]byte{21, 3, 3, 0, 2, 2, 40}, false},
		"a longer alert":                {[]byte{21, 3, 3, 0, 3, 2, 112, 0}, false},
		"half an alert":                 {noSuchName[:6], false},
		"a version of the future":       {[]byte("\x16SSH-2.0-test\r\n"), false},
		"nothing":                       {nil, false},
	} {
		t.Run(what, func(t *testing.T) {
			a, b := memconn.Pipe(1 << 16)
			defer a.Close()
			if _, err := b.Write(c.says); err != nil {
				t.Fatal(err)
			}
			if err := b.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			client, err := browser.Client(a, "xyz.relay.example", browser.Firefox)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Handshake(context.Background()); err == nil || client.IsElsewhere() != c.elsewhere {
				t.Errorf("elsewhere: %v; %v", client.IsElsewhere(), err)
			}
		})
	}
}

// toBare does the handshake with a bare server, and returns what it has shown.
func toBare(t *testing.T, shape browser.Shape, s *bare) ([][]byte, error) {
	t.Helper()
	a, b := memconn.Pipe(1 << 16)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(t, b)
	}()
	c, err := browser.Client(a, "xyz.relay.example", shape)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Handshake(context.Background())
	a.Close()
	<-served
	return c.Chain(), err
}

// Each cipher suite and each form that a hello offers can carry the certificates.
func TestCertificatesAreReadInEveryForm(t *testing.T) {
	leaf := testca.New(t).Issue("xyz.relay.example").Certificate[0]
	chain := [][]byte{leaf, []byte("junk"), bytes.Repeat([]byte("long"), 10000)}
	plain := certificateMessage(chain...)
	var zlibbed, brotlied, zstded bytes.Buffer
	z := zlib.NewWriter(&zlibbed)
	b := brotli.NewWriter(&brotlied)
	s, err := zstd.NewWriter(&zstded)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []interface {
		io.WriteCloser
		Flush() error
	}{z, b, s} {
		for _, part := range [][]byte{plain[:100], plain[100:]} { // which a single Read of some gives apart
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for what, s := range map[string]*bare{
		"AES-128":            {suite: tls.TLS_AES_128_GCM_SHA256, message: message(11, plain)},
		"AES-256":            {suite: tls.TLS_AES_256_GCM_SHA384, message: message(11, plain)},
		"ChaCha20":           {suite: tls.TLS_CHACHA20_POLY1305_SHA256, message: message(11, plain)},
		"records with zeros": {suite: tls.TLS_AES_128_GCM_SHA256, message: message(11, plain), pad: 9000},
		"zlib":               {suite: tls.TLS_AES_128_GCM_SHA256, message: compressedMessage(1, len(plain), zlibbed.Bytes())},
		"brotli":             {suite: tls.TLS_AES_128_GCM_SHA256, message: compressedMessage(2, len(plain), brotlied.Bytes())},
		"zstd":               {suite: tls.TLS_AES_128_GCM_SHA256, message: compressedMessage(3, len(plain), zstded.Bytes())},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := toBare(t, browser.Firefox, s)
			if err == nil {
				t.Fatal("the handshake has not failed")
			}
			if len(got) != len(chain) {
				t.Fatalf("%d certificates: %v", len(got), err)
			}
			for i := range chain {
				if !bytes.Equal(got[i], chain[i]) {
					t.Errorf("certificate %d is another one", i)
				}
			}
		})
	}
}

// Where a server breaks off in its certificates, or their message cannot be read, it has
// shown some all the same.
func TestWhatIsLeftOfTheCertificatesCounts(t *testing.T) {
	leaf := testca.New(t).Issue("xyz.relay.example").Certificate[0]
	whole := message(11, certificateMessage(leaf, make([]byte, 5000)))
	for what, c := range map[string]struct {
		message []byte
		shown   [][]byte
	}{
		"broken off behind the leaf": {whole[:len(whole)-4000], [][]byte{leaf}},
		"broken off in the leaf":     {whole[:100], [][]byte{nil}},
		"none":                       {message(11, certificateMessage()), nil},
		"in an unknown form":         {compressedMessage(9, 5000, make([]byte, 50)), [][]byte{nil}},
		"in a broken form":           {compressedMessage(2, 5000, make([]byte, 50)), [][]byte{nil}},
	} {
		t.Run(what, func(t *testing.T) {
			s := &bare{suite: tls.TLS_AES_128_GCM_SHA256, message: c.message}
			got, err := toBare(t, browser.Chromium, s)
			if err == nil || len(got) != len(c.shown) {
				t.Fatalf("%d certificates: %v", len(got), err)
			}
			for i := range got {
				if !bytes.Equal(got[i], c.shown[i]) {
					t.Errorf("certificate %d is %x", i, got[i])
				}
			}
		})
	}
}

// A few KiB on the wire do not become many MiB here.
func TestCertificatesThatDecompressToMuchAreRefused(t *testing.T) {
	leaf := testca.New(t).Issue("xyz.relay.example").Certificate[0]
	long := certificateMessage(leaf, make([]byte, 15<<20))
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &bare{suite: tls.TLS_AES_128_GCM_SHA256, message: compressedMessage(3, len(long), z.EncodeAll(long, nil))}
	chain, err := toBare(t, browser.Firefox, s)
	if want := "the certificates are too long"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	size := 0
	for _, der := range chain {
		size += len(der)
	}
	if len(chain) == 0 || !bytes.Equal(chain[0], leaf) || size > 256<<10 {
		t.Errorf("%d certificates of %d bytes are kept", len(chain), size)
	}
}

// A server that speaks no TLS is heard at once, and what it says is not kept back.
func TestAServerWithoutTLSFailsAtOnce(t *testing.T) {
	a, b := memconn.Pipe(1 << 16)
	defer a.Close()
	defer b.Close()
	if _, err := io.WriteString(b, "SSH-2.0-test\r\n"); err != nil {
		t.Fatal(err)
	}
	c, err := browser.Client(a, "xyz.relay.example", browser.Chromium)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Handshake(context.Background()); err == nil || len(c.Chain()) > 0 {
		t.Errorf("%v; %d certificates", err, len(c.Chain()))
	}
}
