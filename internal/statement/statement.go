// Package statement is the document in which a device says that a public name, and
// the key of the certificate that visitors of it are shown, are its own. It stands at
// [Path] inside the name's TLS. docs/verify.md specifies it.
package statement

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/keyname"
)

const (
	// Path is where a name answers with its statement.
	Path = "/.well-known/keystay"
	// ContentType is what it is answered as.
	ContentType = "application/json"
	// MaxSize is the largest document that is read, in bytes.
	MaxSize = 4 << 10
	// Window is how far the time of a statement may be from the reader's, either way.
	Window = 10 * time.Minute

	// version is the number in the field keystay.
	version = 1
	// prefix begins what is signed, and nothing else that a device signs.
	prefix = "keystay-statement-v1\x00"
	// timeForm is the one spelling of a time: in UTC, whole seconds (RFC 3339).
	timeForm = "2006-01-02T15:04:05Z"
	// maxAccount is the longest account URL, in bytes, and maxWord the longest word.
	maxAccount, maxWord = 1024, 256
)

// ErrSignature is the error of a statement that its identity has not signed.
var ErrSignature = errors.New("the signature is not by the identity that the document names")

// A Statement is what a device says of a name.
type Statement struct {
	// Name is the public name, in normal form.
	Name string
	// Word is what a name made from the identity is made of, too. It may be empty.
	Word string
	// Identity is the device's public key.
	Identity ed25519.PublicKey
	// CertificateKey is that of the certificate, see [KeyOf].
	CertificateKey [sha256.Size]byte
	// Account is the URL of the ACME account that ordered the certificate; empty where
	// the certificate was brought along.
	Account string
	// Time is when it was signed, in whole seconds.
	Time time.Time

	signature []byte
}

// document is the JSON form.
type document struct {
	Keystay        int    `json:"keystay"`
	Name           string `json:"name"`
	Word           string `json:"word"`
	Identity       string `json:"identity"`
	CertificateKey string `json:"certificate_key"`
	Account        string `json:"account"`
	Time           string `json:"time"`
	Signature      string `json:"signature"`
}

// KeyOf returns the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280, section
// 4.1.2.7).
func KeyOf(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// Sign returns the document of s, signed with the identity's key, which it names in
// place of s.Identity.
func Sign(key ed25519.PrivateKey, s Statement) []byte {
	s.Identity = key.Public().(ed25519.PublicKey)
	d := s.unsigned()
	d.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, d.signed()))
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // for readers who are people
	e.SetIndent("", "  ")
	_ = e.Encode(d) // strings and a number
	return b.Bytes()
}

func (s *Statement) unsigned() document {
	return document{
		Keystay: version, Name: s.Name, Word: s.Word,
		Identity:       base64.StdEncoding.EncodeToString(s.Identity),
		CertificateKey: hex.EncodeToString(s.CertificateKey[:]),
		Account:        s.Account, Time: s.Time.UTC().Format(timeForm),
	}
}

// signed is the text that is signed: the fields as they stand in the document, each
// with a zero byte behind it, which none of them can have.
func (d *document) signed() []byte {
	return []byte(prefix + strings.Join([]string{d.Name, d.Word, d.Identity, d.CertificateKey, d.Account, d.Time, ""}, "\x00"))
}

// Parse reads a document. Fields that it does not know are passed over. It does not
// look at the signature: see [Statement.Verify].
func Parse(b []byte) (*Statement, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("the document has more than %d bytes", MaxSize)
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("the document is not the JSON that it should be: %w", err)
	}
	if d.Keystay != version {
		return nil, fmt.Errorf("the document has version %d, and this program knows %d", d.Keystay, version)
	}
	s, err := d.statement()
	if err != nil {
		return nil, fmt.Errorf("the document's %w", err)
	}
	return s, nil
}

// statement reads the fields. Each has one spelling alone.
func (d *document) statement() (*Statement, error) {
	s := &Statement{Name: d.Name, Word: d.Word, Account: d.Account}
	if n, err := hostname.Normalize([]byte(d.Name)); err != nil || n != d.Name {
		return nil, errors.New("name is no host name in normal form")
	}
	if len(d.Word) > maxWord || strings.ContainsFunc(d.Word, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("word is none")
	}
	var err error
	if s.Identity, err = exactly(d.Identity, ed25519.PublicKeySize); err != nil {
		return nil, fmt.Errorf("identity is no Ed25519 key: %w", err)
	}
	if s.signature, err = exactly(d.Signature, ed25519.SignatureSize); err != nil {
		return nil, fmt.Errorf("signature is no Ed25519 signature: %w", err)
	}
	key, err := hex.DecodeString(d.CertificateKey)
	if err != nil || len(key) != sha256.Size || strings.ToLower(d.CertificateKey) != d.CertificateKey {
		return nil, errors.New("certificate_key is no SHA-256 in lower-case hexadecimal")
	}
	copy(s.CertificateKey[:], key)
	if s.Account != "" && !isAccount(s.Account) {
		return nil, errors.New("account is no https URL")
	}
	if s.Time, err = time.Parse(timeForm, d.Time); err != nil || s.Time.Format(timeForm) != d.Time {
		return nil, errors.New("time is none, as in " + timeForm)
	}
	return s, nil
}

// exactly decodes base64 with padding (RFC 4648, section 4) of so many bytes.
func exactly(s string, size int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	switch {
	case err != nil || strings.ContainsAny(s, "\r\n"):
		return nil, errors.New("it is not base64 with padding")
	case len(b) != size:
		return nil, fmt.Errorf("it has %d bytes, and not %d", len(b), size)
	}
	return b, nil
}

func isAccount(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && len(s) <= maxAccount &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Verify checks the signature. Its error is [ErrSignature].
func (s *Statement) Verify() error {
	d := s.unsigned()
	if !ed25519.Verify(s.Identity, d.signed(), s.signature) {
		return ErrSignature
	}
	return nil
}

// Label is what people call the identity by: the label made from it without a word.
func (s *Statement) Label() string { return keyname.Label(s.Identity, "") }

// FromKey reports whether the name has a label of the form of those that are made from
// keys, and whether that one is made from this identity.
func (s *Statement) FromKey() (has, own bool) {
	for label := range strings.SplitSeq(s.Name, ".") {
		if keyname.Is(label) {
			return true, label == s.Label() || label == keyname.Label(s.Identity, s.Word)
		}
	}
	return false, false
}

// IsFresh reports whether the time of the statement is within [Window] of now.
func (s *Statement) IsFresh(now time.Time) bool { return now.Sub(s.Time).Abs() <= Window }
