package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"keystay/internal/ownfile"
)

// Files are where a node's certificate is kept, in PEM.
type Files struct {
	CA   string // the certificate of the CA of the nodes, or several
	Cert string // the node's own, with those between it and the CA
	Key  string // its private key
}

// Credentials are a node's certificate, and the CA whose certificates it believes. They
// are taken up anew when the files have changed.
type Credentials struct {
	files Files
	node  string
	now   atomic.Pointer[loaded]
}

// loaded is what the files hold.
type loaded struct {
	cert  tls.Certificate // with the CA's certificates behind it, for those that join
	roots *x509.CertPool
	ca    []byte // PEM
	mod   [3]time.Time

	tickets  [32]byte               // seals the sessions of hops
	sessions tls.ClientSessionCache // of hops to other nodes
}

// LoadCredentials reads the files of a node. The certificate has to be for the node's
// name, and of the CA.
func LoadCredentials(files Files, node string) (*Credentials, error) {
	c := &Credentials{files: files, node: node}
	l, err := c.read()
	if err != nil {
		return nil, err
	}
	c.now.Store(l)
	return c, nil
}

func (c *Credentials) read() (*loaded, error) {
	l := &loaded{mod: c.modified(), sessions: tls.NewLRUClientSessionCache(maxNodes)}
	rand.Read(l.tickets[:])
	var err error
	if l.ca, err = ownfile.Read(c.files.CA); err != nil {
		return nil, err
	}
	l.roots = x509.NewCertPool()
	if !l.roots.AppendCertsFromPEM(l.ca) {
		return nil, formOr(fmt.Errorf("%s has no certificate", c.files.CA), l.ca, c.files.CA, false)
	}
	certPEM, err := ownfile.Read(c.files.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := ownfile.Read(c.files.Key)
	if err != nil {
		return nil, err
	}
	if l.cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		err = formOr(fmt.Errorf("%s and %s: %w", c.files.Cert, c.files.Key, err), keyPEM, c.files.Key, true)
		return nil, formOr(err, certPEM, c.files.Cert, false)
	}
	if err := l.verify(c.node); err != nil {
		return nil, fmt.Errorf("%s: %w", c.files.Cert, err)
	}
	for _, ca := range certificates(l.ca) {
		l.cert.Certificate = append(l.cert.Certificate, ca.Raw)
	}
	return l, nil
}

// formOr returns what a file is where it shows that it is no PEM of that kind, else err.
func formOr(err error, b []byte, file string, key bool) error {
	if form := ownfile.OtherForm(b, file, key); form != nil {
		return fmt.Errorf("%s %w", file, form)
	}
	return err
}

// verify reports whether other nodes will take the certificate, but for its time.
func (l *loaded) verify(node string) error {
	leaf := l.cert.Leaf
	if err := leaf.VerifyHostname(node); err != nil {
		return fmt.Errorf("it is not for node %s: %w", node, err)
	}
	between := x509.NewCertPool()
	for _, raw := range l.cert.Certificate[1:] {
		if cert, err := x509.ParseCertificate(raw); err == nil {
			between.AddCert(cert)
		}
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: l.roots, Intermediates: between, CurrentTime: leaf.NotAfter.Add(-time.Second), KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil {
			return err
		}
	}
	return nil
}

// modified returns when the files were changed.
func (c *Credentials) modified() (at [3]time.Time) {
	for i, file := range []string{c.files.CA, c.files.Cert, c.files.Key} {
		if info, err := os.Stat(file); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

// Reload reads the files again where they have changed. With an error what was read
// before is in use.
func (c *Credentials) Reload() (changed bool, err error) {
	if c.modified() == c.now.Load().mod {
		return false, nil
	}
	l, err := c.read()
	if err != nil {
		return false, err
	}
	c.now.Store(l)
	return true, nil
}

// Ends is when the certificate ends.
func (c *Credentials) Ends() time.Time { return c.now.Load().cert.Leaf.NotAfter }

// isDue reports whether the certificate is to be renewed: a third of its time is left.
func (c *Credentials) isDue(now time.Time) bool {
	leaf := c.now.Load().cert.Leaf
	return leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/3
}

// machine is the hash of this node's key.
func (c *Credentials) machine() machine { return machineOfLeaf(c.now.Load().cert.Leaf) }

func machineOfLeaf(leaf *x509.Certificate) machine {
	return sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
}

// machineOf is the machine at the other end of a connection.
func machineOf(conn *tls.Conn) machine {
	return machineOfLeaf(conn.ConnectionState().PeerCertificates[0])
}

// errNoProtocol refuses connections that speak nothing that is spoken here.
var errNoProtocol = errors.New("it speaks none of the protocols of nodes")

// client is the configuration to dial a node with.
func (c *Credentials) client(node, alpn string) *tls.Config {
	l := c.now.Load()
	config := &tls.Config{
		Certificates: []tls.Certificate{l.cert},
		RootCAs:      l.roots,
		ServerName:   node,
		NextProtos:   []string{alpn},
		MinVersion:   tls.VersionTLS13,
	}
	if alpn == ProtocolHop {
		config.CurvePreferences, config.ClientSessionCache = hopCurves, l.sessions
	}
	return config
}

// hopCurves are the key exchanges of hops, of which there is one for each visitor. What a
// hop keeps secret is a visitor's hello, which came in the clear, and its address.
var hopCurves = []tls.CurveID{tls.X25519}

// server is the configuration for connections with one of the protocols, in their
// order. Where strangers is set the other side may have no certificate.
func (c *Credentials) server(alpn string, strangers bool) *tls.Config {
	l := c.now.Load()
	config := &tls.Config{
		Certificates:           []tls.Certificate{l.cert},
		ClientCAs:              l.roots,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		NextProtos:             []string{alpn},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true, // a certificate that has expired is not to be good any more
	}
	if alpn == ProtocolHop { // a session is taken up while both certificates are valid, at a third of the cost
		config.SessionTicketsDisabled, config.CurvePreferences = false, hopCurves
		config.SetSessionTicketKeys([][32]byte{l.tickets})
	}
	if strangers {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config
}
