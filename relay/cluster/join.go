package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"keystay/internal/outage"
	"keystay/internal/ownfile"
	"keystay/internal/placing"
)

const (
	// ProtocolJoin is the ALPN name of a machine that becomes a node, and of a node that
	// renews its certificate: one question, and its answer.
	ProtocolJoin = "keystay-join/1"
	// maxJoin is how long the question, and the answer, may be, in bytes.
	maxJoin = 16 << 10
	// joinTimeout is how long both may take.
	joinTimeout = 10 * time.Second
)

// A joinQuestion asks for a certificate: with an invitation, or as a node that has one.
type joinQuestion struct {
	Node    string `json:"node"`
	ID      []byte `json:"id,omitempty"`
	Secret  []byte `json:"secret,omitempty"`
	Request []byte `json:"request"` // PKCS #10, DER: for the key alone
}

// A joinAnswer has the certificate, and for a new node also what all nodes share.
type joinAnswer struct {
	Error     string `json:"error,omitempty"`
	Cert      []byte `json:"cert,omitempty"` // PEM, and so CA
	CA        []byte `json:"ca,omitempty"`
	RecordKey []byte `json:"record_key,omitempty"`
}

// joins are the questions that are being answered.
type joins struct {
	authority *Authority // nil where this node is not the CA
	log       *slog.Logger

	guesses   guesses
	strangers sync.Mutex    // one at a time of machines without a certificate
	nodes     sync.Mutex    // and one of those that have one
	refused   outage.Outage // for the log
}

// serve answers one question. Whoever has asked waits for those before, each of whom takes
// a moment; who says nothing keeps nobody waiting.
func (j *joins) serve(conn *tls.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(joinTimeout))
	var q joinQuestion
	if err := json.NewDecoder(io.LimitReader(conn, maxJoin)).Decode(&q); err != nil {
		return
	}
	of := &j.strangers
	if len(conn.ConnectionState().VerifiedChains) > 0 {
		of = &j.nodes
	}
	of.Lock()
	a, err := j.join(&q, conn)
	of.Unlock()
	if err != nil {
		if tell, _ := j.refused.Failed(1); tell { // anybody may ask
			j.log.Warn("a machine does not get a node's certificate", "node", q.node(), "from", conn.RemoteAddr(), "err", err)
		}
		a = &joinAnswer{Error: err.Error()}
	}
	_ = json.NewEncoder(conn).Encode(a)
}

// node is the node's name for the log.
func (q *joinQuestion) node() string {
	if placing.IsName(q.Node) {
		return q.Node
	}
	return ""
}

func (j *joins) join(q *joinQuestion, conn *tls.Conn) (*joinAnswer, error) {
	if j.authority == nil {
		return nil, errNoAuthority
	}
	if !placing.IsName(q.Node) {
		return nil, errors.New("no name of a node")
	}
	state := conn.ConnectionState()
	known := len(state.VerifiedChains) > 0 && state.PeerCertificates[0].VerifyHostname(q.Node) == nil
	request, err := x509.ParseCertificateRequest(q.Request)
	if err == nil && !known && !isOwnKind(request.PublicKey) { // to check a signature of another kind may take long
		err = errNoRequest
	}
	if err == nil {
		err = request.CheckSignature()
	}
	if err != nil {
		return nil, errNoRequest
	}
	if !known {
		if err := j.authority.take(q.ID, q.Secret, &j.guesses); err != nil {
			return nil, err
		}
	}
	a := &joinAnswer{CA: j.authority.pem}
	if a.Cert, err = j.authority.issue(q.Node, request.PublicKey); err != nil {
		return nil, err
	}
	if known {
		j.log.Info("a node has a new certificate", "node", q.Node)
		return a, nil
	}
	if a.RecordKey, err = recordKey(j.authority.dir); err != nil {
		return nil, err
	}
	j.log.Info("a machine has become a node", "node", q.Node, "from", conn.RemoteAddr())
	return a, nil
}

// errNoRequest is the answer to a question without a request for a certificate.
var errNoRequest = errors.New("no request for a certificate")

// isOwnKind reports whether a key is one as Join makes.
func isOwnKind(key any) bool {
	public, ok := key.(*ecdsa.PublicKey)
	return ok && public.Curve == elliptic.P256()
}

// errNoAuthority is the answer of a node that is not the CA.
var errNoAuthority = errors.New("this node is not the CA: it has no ca.key")

func recordKey(d Dir) ([]byte, error) {
	key, err := ReadRecordKey(d.RecordKey())
	if err != nil {
		return nil, fmt.Errorf("the record's key: %w", err)
	}
	return key, nil
}

// Join makes this machine the node of an invitation, and keeps what it gets in the
// folder.
func (d Dir) Join(ctx context.Context, v *Invite, node string) error {
	if !placing.IsName(node) {
		return fmt.Errorf("no name of a node: %q", node)
	}
	if err := d.empty(); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", v.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	tc := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, // by its fingerprint below
		VerifyConnection:   func(s tls.ConnectionState) error { return v.verify(s.PeerCertificates) },
		NextProtos:         []string{ProtocolJoin},
		MinVersion:         tls.VersionTLS13,
	})
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	q := joinQuestion{Node: node, ID: v.ID[:], Secret: v.Secret[:]}
	a, err := q.ask(tc, key)
	if err != nil {
		return err
	}
	if err := v.check(a, node, key); err != nil {
		return fmt.Errorf("the answer cannot be used: %w", err)
	}
	if err := ownfile.Write(d.RecordKey(), a.RecordKey); err != nil {
		return err
	}
	if err := ownfile.Write(d.file("ca.pem"), a.CA); err != nil {
		return err
	}
	return d.keep(key, a.Cert)
}

// verify reports whether a chain is of the invitation's CA.
func (v *Invite) verify(chain []*x509.Certificate) error {
	roots, found := x509.NewCertPool(), false
	for _, cert := range chain {
		if sha256.Sum256(cert.Raw) == v.CA {
			roots.AddCert(cert)
			found = true
		}
	}
	if !found {
		return errors.New("what answers there is not of the cluster that the invitation is for")
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots})
	return err
}

// check looks whether an answer is what was asked for.
func (v *Invite) check(a *joinAnswer, node string, key *ecdsa.PrivateKey) error {
	cas, own := certificates(a.CA), certificates(a.Cert)
	switch {
	case len(cas) == 0 || sha256.Sum256(cas[0].Raw) != v.CA:
		return errors.New("it has another CA")
	case len(own) == 0 || !key.PublicKey.Equal(own[0].PublicKey):
		return errors.New("the certificate is for another key")
	case len(a.RecordKey) != RecordKeySize:
		return errors.New("it has no key of the record")
	}
	if err := own[0].VerifyHostname(node); err != nil {
		return err
	}
	return own[0].CheckSignatureFrom(cas[0])
}

// ask sends the question, with a request for the key, and reads the answer.
func (q *joinQuestion) ask(tc *tls.Conn, key any) (*joinAnswer, error) {
	var err error
	if q.Request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key); err != nil {
		return nil, err
	}
	tc.SetDeadline(time.Now().Add(joinTimeout))
	if err := json.NewEncoder(tc).Encode(q); err != nil {
		return nil, err
	}
	var a joinAnswer
	if err := json.NewDecoder(io.LimitReader(tc, maxJoin)).Decode(&a); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return &a, nil
}
