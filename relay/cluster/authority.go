package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"keystay/internal/ownfile"
	"keystay/internal/placing"
)

const (
	// certificateTime is how long a node's certificate counts, and authorityTime that
	// of the CA.
	certificateTime, authorityTime = 365 * 24 * time.Hour, 30 * 365 * 24 * time.Hour
	// backdated is how far a certificate begins before it is made: clocks differ.
	backdated = time.Hour
	// RecordKeySize is how many bytes the key of the record has, which all nodes share.
	RecordKeySize = 32
)

// A Dir is the folder in which a node keeps what it needs to be one: ca.pem, node.pem and
// node.key, record.key, which all nodes share, and where it is the CA also ca.key and the
// invitations that nobody has taken yet.
type Dir string

// Files are the node's certificate and the CA's.
func (d Dir) Files() Files {
	return Files{CA: d.file("ca.pem"), Cert: d.file("node.pem"), Key: d.file("node.key")}
}

// RecordKey is the file with the key of the record of names, RecordKeySize bytes.
func (d Dir) RecordKey() string { return d.file("record.key") }

// ReadRecordKey reads the key of the record of names from a file, which has RecordKeySize
// bytes.
func ReadRecordKey(file string) ([]byte, error) {
	key, _, err := ownfile.Load(file, 0) // not as text: it is bytes
	if err == nil && len(key) != RecordKeySize {
		err = fmt.Errorf("%s has %d bytes, and not %d", file, len(key), RecordKeySize)
	}
	return key, err
}

func (d Dir) file(name string) string { return filepath.Join(string(d), name) }

// ErrIsNode is wrapped by the errors of Init and Join where the folder has a node's
// files already.
var ErrIsNode = errors.New("there is a node's certificate already")

// Init makes the CA of a new cluster, and the certificate of its first node.
func (d Dir) Init(node string) error {
	if err := d.empty(); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "keystay cluster"},
		SerialNumber:          serial(),
		NotBefore:             time.Now().Add(-backdated),
		NotAfter:              time.Now().Add(authorityTime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	record := make([]byte, RecordKeySize)
	rand.Read(record)
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := ownfile.Write(d.file("ca.key"), keyPEM); err != nil {
		return err
	}
	if err := ownfile.Write(d.file("ca.pem"), caPEM); err != nil {
		return err
	}
	if err := ownfile.Write(d.RecordKey(), record); err != nil {
		return err
	}
	a, err := d.Authority()
	if err != nil {
		return err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	issued, err := a.issue(node, own.Public())
	if err != nil {
		return err
	}
	return d.keep(own, issued)
}

// empty makes the folder, and looks that no node's files are there.
func (d Dir) empty() error {
	if err := ownfile.MkdirAll(string(d)); err != nil {
		return err
	}
	for _, name := range []string{"node.pem", "ca.pem", "ca.key"} {
		if _, err := os.Lstat(d.file(name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", d.file(name), ErrIsNode)
		}
	}
	return nil
}

// keep writes a node's key and certificate.
func (d Dir) keep(key *ecdsa.PrivateKey, cert []byte) error {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := ownfile.Write(d.file("node.key"), keyPEM); err != nil {
		return err
	}
	return ownfile.Write(d.file("node.pem"), cert)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// An Authority is the CA of the nodes, on a node that has its key.
type Authority struct {
	dir  Dir
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// Authority opens the CA. The error is [fs.ErrNotExist] on a node that is not it.
func (d Dir) Authority() (*Authority, error) {
	keyPEM, err := ownfile.Read(d.file("ca.key"))
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: d}
	if a.pem, err = ownfile.Read(d.file("ca.pem")); err != nil {
		return nil, err
	}
	certs := certificates(a.pem)
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s has no certificate", d.file("ca.pem"))
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, fmt.Errorf("%s has no key", d.file("ca.key"))
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.file("ca.key"), err)
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok || !own.PublicKey.Equal(certs[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", d.file("ca.key"), d.file("ca.pem"))
	}
	a.cert, a.key = certs[0], own
	return a, nil
}

// issue makes the certificate of a node.
func (a *Authority) issue(node string, key crypto.PublicKey) ([]byte, error) {
	if !placing.IsName(node) {
		return nil, fmt.Errorf("no name of a node: %q", node)
	}
	cert := &x509.Certificate{
		Subject:      pkix.Name{CommonName: node},
		DNSNames:     []string{node},
		SerialNumber: serial(),
		NotBefore:    time.Now().Add(-backdated),
		NotAfter:     time.Now().Add(certificateTime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key, a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// certificates returns those in a PEM text.
func certificates(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
}
