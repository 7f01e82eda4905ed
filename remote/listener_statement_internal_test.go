package remote

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/statement"
	"keystay/internal/testca"
)

// A statement is signed anew after a minute, and when the certificate or the device's
// key changes; and not for each visitor that asks.
func TestStatementIsSignedAnewWhenItMust(t *testing.T) {
	ca := testca.New(t)
	certs := []tls.Certificate{ca.Issue("xyz.relay.test"), ca.Issue("xyz.relay.test")}
	synctest.Test(t, func(t *testing.T) {
		now := certs[0]
		l := &Listener{d: &Device{state: &state{}}, domain: "xyz.relay.test"}
		l.base = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &now, nil }}
		rekey := func() {
			_, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			l.d.state.keys.set(key, nil)
		}
		say := func() []byte {
			doc, err := l.Statement()
			if err != nil {
				t.Fatal(err)
			}
			s, err := statement.Parse(doc)
			if err != nil || s.Verify() != nil || s.CertificateKey != statement.KeyOf(now.Leaf) || !s.Identity.Equal(l.d.state.keys.public()) || time.Since(s.Time) > statementAge {
				t.Errorf("%v: %s", err, doc)
			}
			return doc
		}
		rekey()
		first := say()
		time.Sleep(statementAge - time.Second)
		if !bytes.Equal(first, say()) {
			t.Error("it was signed anew within a minute")
		}
		time.Sleep(time.Second)
		second := say()
		if bytes.Equal(first, second) {
			t.Error("it was not signed anew after a minute")
		}
		now = certs[1]
		third := say()
		if bytes.Equal(second, third) {
			t.Error("it was not signed anew for another certificate")
		}
		if rekey(); bytes.Equal(third, say()) {
			t.Error("it was not signed anew with another key")
		}
	})
}
