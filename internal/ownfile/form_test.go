package ownfile_test

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/testca"
)

// A file that is no PEM is named as what it is, with the command that makes PEM of it.
func TestOtherFormNamesWhatAFileIs(t *testing.T) {
	ca := testca.New(t)
	certFile, keyFile := ca.Files(t.TempDir(), "a.test")
	read := func(file string) (text, der []byte) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		return b, block.Bytes
	}
	certPEM, certDER := read(certFile)
	keyPEM, keyDER := read(keyFile)
	type content struct {
		Type asn1.ObjectIdentifier
		Data []byte `asn1:"optional,explicit,tag:0"`
	}
	der := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	data, signed := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	p12 := der(struct {
		Version int
		Safe    content
	}{3, content{data, []byte("x")}})
	p7 := der(content{signed, []byte("x")})
	locked := der(struct {
		Algorithm content
		Data      []byte
	}{content{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}}, []byte("x")})
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	for what, c := range map[string]struct {
		b           []byte
		cert, key   *hint.Advice // as which it is asked for
		text, lines string
	}{
		"the certificate":    {certPEM, nil, hint.FormSwapped, "holds a certificate, and no private key", "wrong way round"},
		"the key":            {keyPEM, hint.FormSwapped, nil, "holds a private key, and no certificate", "wrong way round"},
		"both":               {slices.Concat(keyPEM, certPEM), nil, nil, "", ""},
		"DER":                {certDER, hint.FormDER, hint.FormDER, "DER", "openssl x509 -inform DER -in F -out"},
		"a key as DER":       {keyDER, hint.FormDERKey, hint.FormDERKey, "DER", "openssl pkey -inform DER -in F -out"},
		"an encrypted one":   {locked, hint.FormDERKey, hint.FormDERKey, "DER", "openssl pkey -inform DER -in F -out"},
		"PKCS #12":           {p12, hint.FormPKCS12, hint.FormPKCS12, "PKCS #12", "openssl pkcs12 -in F -nocerts -nodes -out"},
		"PKCS #7":            {p7, hint.FormPKCS7, hint.FormPKCS7, "PKCS #7", "openssl pkcs7 -inform DER -in F -print_certs"},
		"PKCS #7 as PEM":     {block("PKCS7", p7), hint.FormPKCS7, hint.FormPKCS7, "PKCS #7", "openssl pkcs7 -in F -print_certs"},
		"a keystore":         {[]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02"), hint.FormKeystore, hint.FormKeystore, "Java", "-srckeystore F"},
		"a request":          {block("CERTIFICATE REQUEST", request), hint.FormRequest, hint.FormRequest, "request", "CA"},
		"a request as DER":   {request, hint.FormRequest, hint.FormRequest, "request", "CA"},
		"a key of SSH":       {block("OPENSSH PRIVATE KEY", nil), hint.FormSSH, hint.FormSSH, "SSH", "PEM"},
		"nothing":            {[]byte(" \n"), hint.FormEmpty, hint.FormEmpty, "is empty", "nothing is in F"},
		"words":              {[]byte("hello"), nil, nil, "", ""},
		"a sequence":         {[]byte{0x30, 0}, nil, nil, "", ""},
		"one that is cut":    {certDER[:100], nil, nil, "", ""},
		"PEM that is broken": {[]byte("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), nil, nil, "", ""},
		"PEM that is cut":    {certPEM[:len(certPEM)/2], hint.FormCut, hint.FormCut, "begins, and does not end", "copy F anew"},
	} {
		for i, want := range []*hint.Advice{c.cert, c.key} {
			err := ownfile.OtherForm(c.b, "F", i == 1)
			if want == nil {
				if err != nil {
					t.Errorf("%s, %d: %v", what, i, err)
				}
				continue
			}
			if lines := strings.Join(hint.All(err), "\n"); err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(lines, c.lines) || len(hint.All(err)) != len(want.Do) {
				t.Errorf("%s, %d: %v, %s", what, i, err, lines)
			}
		}
	}
}
