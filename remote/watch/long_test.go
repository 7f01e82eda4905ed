package watch_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/testca"
	"keystay/remote/watch"
)

// A longKey is an RSA key of any length, of primes that are short enough to be found soon.
type longKey struct {
	public rsa.PublicKey
	primes []*big.Int
}

// newLongKey returns one of bits, a multiple of 512, or some fewer.
func newLongKey(t *testing.T, bits int) *longKey {
	t.Helper()
	k := &longKey{public: rsa.PublicKey{N: big.NewInt(1), E: 65537}}
	for len(k.primes) < bits/512 {
		p, err := rand.Prime(rand.Reader, 512) // whose two first bits are set
		if err != nil {
			t.Fatal(err)
		}
		if new(big.Int).Mod(p, big.NewInt(int64(k.public.E))).Cmp(big.NewInt(1)) == 0 {
			continue // nothing can be signed with it
		}
		k.primes, k.public.N = append(k.primes, p), k.public.N.Mul(k.public.N, p)
	}
	return k
}

func (k *longKey) Public() crypto.PublicKey { return &k.public }

// Sign signs by PKCS #1, version 1.5 (RFC 8017, section 8.2.1).
func (k *longKey) Sign(_ io.Reader, digest []byte, of crypto.SignerOpts) ([]byte, error) {
	if of.HashFunc() != crypto.SHA256 {
		return nil, errors.New("another hash")
	}
	end := append([]byte{0, 0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32}, digest...)
	padded := slices.Concat([]byte{0, 1}, slices.Repeat([]byte{0xff}, k.public.Size()-2-len(end)), end)
	message, sum := new(big.Int).SetBytes(padded), new(big.Int)
	for _, p := range k.primes { // by the Chinese remainder theorem
		d := new(big.Int).ModInverse(big.NewInt(int64(k.public.E)), new(big.Int).Sub(p, big.NewInt(1)))
		if d == nil {
			return nil, errors.New("a prime that does not fit")
		}
		part := new(big.Int).Exp(new(big.Int).Mod(message, p), d, p)
		rest := new(big.Int).Div(k.public.N, p)
		part.Mul(part, new(big.Int).ModInverse(rest, p)).Mod(part, p)
		sum.Add(sum, part.Mul(part, rest))
	}
	return sum.Mod(sum, k.public.N).FillBytes(make([]byte, k.public.Size())), nil
}

// certified returns a certificate of a key that another one has signed: a CA's, or that of
// a leaf for name.
func certified(t *testing.T, subject string, public any, issuer string, by crypto.Signer) []byte {
	t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: subject}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if subject == name {
		c.DNSNames = []string{name}
	} else {
		c.IsCA, c.BasicConstraintsValid = true, true
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, public, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// What stands behind a leaf is calculated with, as long as nothing ends that: not with longer
// keys than the TLS library takes, here as at a peer. So these prove nothing, and clear
// nobody; at the name's own port its key alone counts.
func TestKeysThatAreTooLongAreNotCalculatedWith(t *testing.T) {
	for what, c := range map[string]struct {
		bits int
		want watch.State // beside the name's own port
	}{
		"one that is not too long": {8192, watch.Intercepted},
		"a longer one":             {16384, watch.NotRun},
	} {
		between := newLongKey(t, c.bits)
		for _, port := range []string{"443", "8443"} {
			for _, by := range []string{"the device", "a peer"} {
				t.Run(what+" at "+port+" by "+by, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
						if err != nil {
							t.Fatal(err)
						}
						root, err := x509.ParseCertificate(certified(t, "root", &key.PublicKey, "root", key))
						if err != nil {
							t.Fatal(err)
						}
						roots := x509.NewCertPool()
						roots.AddCert(root)
						spy := tls.Certificate{PrivateKey: key, Certificate: [][]byte{
							certified(t, name, &key.PublicKey, "between", between),
							certified(t, "between", &between.public, "root", key),
						}}
						d := newDevice(t)
						ends := map[string]func(net.Conn){"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) }}
						ends[port] = func(c net.Conn) { d.serve(c, spy, false, d.key) }
						w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{d.byPort(ends)}}
						if by == "a peer" {
							var p *peer
							w, p = crossing(t, d, d.byPort(ends))
							w.Ways[0].Dial = only(w.Ways[0].Dial, "192.0.2.1:8443", "192.0.2.9:443")
							p.answers.Watch.Roots = roots
						}
						w.Roots = roots
						n := d.name()
						n.Port = func() int { return 8443 }
						want := c.want
						if port == "8443" {
							want = watch.Intercepted
						}
						if round, alarms := first(t, w, n); round.State() != want || (len(alarms) > 0) != (want == watch.Intercepted) {
							t.Errorf("%s: %q; alarms: %v", round.State(), round.Text(), alarms)
						}
					})
				})
			}
		}
	}
}

// A leaf with such a key is one of somebody else all the same.
func TestALeafWithAKeyThatIsTooLongIsForeign(t *testing.T) {
	for _, port := range []string{"443", "8443"} {
		t.Run(port, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				long := new(big.Int).Lsh(big.NewInt(1), 1<<19)
				root, err := x509.ParseCertificate(certified(t, "root", &key.PublicKey, "root", key))
				if err != nil {
					t.Fatal(err)
				}
				public := testca.New(t)
				leaf := certified(t, name, &rsa.PublicKey{N: long.Add(long, big.NewInt(1)), E: 1<<31 - 1}, "root", key)
				w, n := at(t, port, public, tls.Certificate{PrivateKey: key, Certificate: [][]byte{leaf, leaf}})
				w.Roots = x509.NewCertPool()
				w.Roots.AddCert(root)
				if round, alarms := first(t, w, n); round.State() != watch.Intercepted || len(alarms) != 1 {
					t.Errorf("%q; alarms: %v", round.Text(), alarms)
				}
			})
		})
	}
}

// Of more certificates than are tried the rest clears nobody either, here as at a peer, which
// tells a part of them.
func TestCertificatesBeyondThoseThatAreTriedClearNobody(t *testing.T) {
	for _, by := range []string{"the device", "a peer"} {
		t.Run(by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				public := testca.New(t)
				spy := public.Intermediate("between").Issue(name)
				key := spy.PrivateKey.(*ecdsa.PrivateKey)
				for range watch.MaxBetween + 1 { // of other names, which the library looks for in vain
					spy.Certificate = append(spy.Certificate, certified(t, "other", &key.PublicKey, "other", key))
				}
				d := newDevice(t)
				ends := map[string]func(net.Conn){
					"8443": func(c net.Conn) { d.serve(c, d.cert, true, d.key) },
					"443":  func(c net.Conn) { d.serve(c, spy, false, d.key) },
				}
				w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{d.byPort(ends)}}
				if by == "a peer" {
					var p *peer
					w, p = crossing(t, d, d.byPort(ends))
					w.Ways[0].Dial = only(w.Ways[0].Dial, "192.0.2.1:8443", "192.0.2.9:443")
					p.answers.Watch.Roots = public.Pool()
				}
				w.Roots = public.Pool()
				n := d.name()
				n.Port = func() int { return 8443 }
				if round, alarms := first(t, w, n); round.State() != watch.NotRun || len(alarms) > 0 {
					t.Errorf("%q; alarms: %v", round.Text(), alarms)
				}
			})
		})
	}
}
