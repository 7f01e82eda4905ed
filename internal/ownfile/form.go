package ownfile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"

	"keystay/internal/hint"
)

// What a certificate, its chain or its key may be kept as, as far as it shows at once.
var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} // RFC 7292, section 4: the outer part of a PKCS #12 file
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2} // RFC 5652, section 5: that of PKCS #7
	oidPBES       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5}    // RFC 8018: below it are the ways to encrypt a key with a passphrase
	keystores     = [][]byte{{0xfe, 0xed, 0xfe, 0xed}, {0xce, 0xce, 0xce, 0xce}}
)

// OtherForm says what the content b of a file is that was to hold a certificate as PEM, or
// a private key where key is true, and holds none; with the command that makes PEM of it.
// It is nil where b holds what it should, and where it is not known what it is. The text
// goes on from the file's name.
func OtherForm(b []byte, file string, key bool) error {
	text := PEM(b)
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return otherBlock(text, file, key)
	}
	inform := "-inform DER "
	var seq asn1.RawValue
	switch rest, err := asn1.Unmarshal(b, &seq); {
	case len(bytes.TrimSpace(text)) == 0:
		return hint.FormEmpty.Error(errors.New("is empty"), "FILE", file)
	case len(b) >= 4 && (bytes.HasPrefix(b, keystores[0]) || bytes.HasPrefix(b, keystores[1])):
		return hint.FormKeystore.Error(errors.New("is a Java keystore, not PEM"), "FILE", file)
	case err != nil || len(rest) > 0 || seq.Tag != asn1.TagSequence:
		return nil
	case begins(seq.Bytes, asn1.TagInteger, oidData), begins(seq.Bytes, asn1.TagInteger, oidSignedData):
		return hint.FormPKCS12.Error(errors.New("is a PKCS #12 file (.p12, .pfx), not PEM"), "FILE", file)
	case begins(seq.Bytes, 0, oidSignedData):
		return hint.FormPKCS7.Error(errors.New("is a PKCS #7 file (.p7b) in DER form, not PEM"), "FILE", file, "INFORM ", inform)
	case isDERKey(b, seq.Bytes):
		return hint.FormDERKey.Error(errors.New("is a private key in DER form, not PEM"), "FILE", file)
	}
	if _, err := x509.ParseCertificate(b); err == nil {
		return hint.FormDER.Error(errors.New("is a certificate in DER form, not PEM"), "FILE", file)
	}
	if _, err := x509.ParseCertificateRequest(b); err == nil {
		return hint.FormRequest.Error(errors.New("is a request for a certificate, and not the certificate"), "FILE", file)
	}
	return nil
}

// otherBlock is OtherForm for PEM of another kind.
func otherBlock(text []byte, file string, key bool) error {
	var kinds []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if key && strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Type != "OPENSSH PRIVATE KEY" || !key && block.Type == "CERTIFICATE" {
			return nil
		}
		kinds = append(kinds, block.Type)
	}
	if len(kinds) == 0 {
		if !bytes.Contains(text, []byte("-----END ")) {
			return hint.FormCut.Error(errors.New("is cut off: its PEM block begins, and does not end"), "FILE", file)
		}
		return nil
	}
	switch kind := kinds[0]; {
	case kind == "CERTIFICATE REQUEST", kind == "NEW CERTIFICATE REQUEST":
		return hint.FormRequest.Error(errors.New("is a request for a certificate, and not the certificate"), "FILE", file)
	case kind == "PKCS7", kind == "CMS":
		return hint.FormPKCS7.Error(errors.New("is a PKCS #7 file (.p7b)"), "FILE", file, "INFORM ", "")
	case kind == "OPENSSH PRIVATE KEY":
		return hint.FormSSH.Error(errors.New("is a key of SSH, and none of a certificate"))
	case key && kind == "CERTIFICATE":
		return hint.FormSwapped.Error(errors.New("holds a certificate, and no private key"))
	case !key && strings.HasSuffix(kind, "PRIVATE KEY"):
		return hint.FormSwapped.Error(errors.New("holds a private key, and no certificate"))
	}
	return nil
}

// begins reports whether the content of a sequence begins with a value of that tag, where
// it is not 0, and then has this identifier, alone or as the first of a sequence.
func begins(content []byte, tag int, id asn1.ObjectIdentifier) bool {
	var v asn1.RawValue
	var err error
	if tag != 0 {
		if content, err = asn1.Unmarshal(content, &v); err != nil || v.Tag != tag {
			return false
		}
		if _, err = asn1.Unmarshal(content, &v); err != nil || v.Tag != asn1.TagSequence {
			return false
		}
		content = v.Bytes
	}
	var found asn1.ObjectIdentifier
	_, err = asn1.Unmarshal(content, &found)
	return err == nil && len(found) >= len(id) && found[:len(id)].Equal(id)
}

// isDERKey reports whether b, a sequence with this content, is a private key of one of the
// kinds that certificates have, with or without a passphrase.
func isDERKey(b, content []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(b); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(b); err == nil {
		return true
	}
	if _, err := x509.ParseECPrivateKey(b); err == nil {
		return true
	}
	var algorithm asn1.RawValue // RFC 5958, section 3
	_, err := asn1.Unmarshal(content, &algorithm)
	return err == nil && algorithm.Tag == asn1.TagSequence && begins(algorithm.Bytes, 0, oidPBES)
}
