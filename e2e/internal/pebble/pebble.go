// Package pebble runs Let's Encrypt's test CA inside the process that uses it,
// for tests and demonstrations. Every name it looks up is 127.0.0.1, and its
// validations go wherever SetTLSTarget and SetHTTPTarget point, so that a
// server under test may choose its ports after the CA has started.
package pebble

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// DefaultValidity is how long certificates are valid where Options do not say.
const DefaultValidity = 90 * 24 * time.Hour

// Options says how the CA is to behave. The zero value is a CA that issues
// certificates for DefaultValidity and logs nothing.
type Options struct {
	// Validity of the certificates, whole seconds; 0 means DefaultValidity.
	Validity time.Duration

	// EAB holds external accounts, key id to base64url MAC key. With any,
	// every new account must be bound to one.
	EAB map[string]string

	// NoARI makes the CA one that gives no advice on renewal (RFC 9773).
	NoARI bool

	// OnOrder is called for each request for an order before it is answered.
	// May be nil.
	OnOrder func(Order)

	// Log takes Pebble's own log; nil discards it.
	Log io.Writer
}

// A Server is a running CA. Start makes one, and its caller closes it.
type Server struct {
	start    func() (http.Handler, error) // makes a CA
	ca       *ca.CAImpl
	faults   *faults
	api      *http.Server
	url      string
	apiRoot  []byte // PEM
	dns      *dns.Server
	tls      *forwarder
	http     *forwarder
	serving  sync.WaitGroup
	shutdown sync.Once
}

// Start runs a CA on free loopback ports.
func Start(o Options) (_ *Server, err error) {
	// Pebble reads these once, here; the values are the same for every Server.
	for k, v := range map[string]string{
		"PEBBLE_VA_NOSLEEP":      "1",
		"PEBBLE_WFE_NONCEREJECT": "0",
		"PEBBLE_AUTHZREUSE":      "0",
	} {
		if err := os.Setenv(k, v); err != nil {
			return nil, fmt.Errorf("set environment: %w", err)
		}
	}
	if o.Validity == 0 {
		o.Validity = DefaultValidity
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	logger := log.New(o.Log, "pebble ", log.Ltime|log.Lmicroseconds)

	s := &Server{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.tls, err = newForwarder(); err != nil {
		return nil, err
	}
	if s.http, err = newForwarder(); err != nil {
		return nil, err
	}
	if err := s.serveDNS(); err != nil {
		return nil, err
	}

	s.start, s.faults = func() (http.Handler, error) { return s.backend(o, logger) }, &faults{onOrder: o.OnOrder, noARI: o.NoARI}
	if err := s.StartAnew(); err != nil {
		return nil, err
	}
	return s, s.serveAPI(logger)
}

// StartAnew puts another CA in the place of this one, with the same URL: it
// knows no account, no order, and has other roots.
func (s *Server) StartAnew() error {
	next, err := s.start()
	if err != nil {
		return err
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.next = next
	return nil
}

// backend makes a CA without a listener.
func (s *Server) backend(o Options, logger *log.Logger) (http.Handler, error) {
	store := db.NewMemoryStore()
	for id, mac := range o.EAB {
		if err := store.AddExternalAccountKeyByID(id, mac); err != nil {
			return nil, fmt.Errorf("add external account: %w", err)
		}
	}
	// The only profile is what every order gets.
	profiles := map[string]ca.Profile{"default": {ValidityPeriod: uint64(o.Validity / time.Second)}}
	s.ca = ca.New(logger, store, "", "ecdsa", 0, 1, profiles)
	validation := va.New(logger, s.http.port(), s.tls.port(), false, s.dns.Listener.Addr().String(), store)
	front := wfe.New(logger, store, validation, s.ca, []string{"pebble.test"}, false, len(o.EAB) > 0, 1, 1)
	return &orderly{next: front.Handler(), store: store}, nil
}

// serveDNS starts a resolver, over TCP, for which every name is 127.0.0.1.
func (s *Server) serveDNS() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	started := make(chan struct{})
	s.dns = &dns.Server{Listener: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(answer)}
	s.serving.Go(func() { _ = s.dns.ActivateAndServe() })
	<-started // Shutdown before that would miss it
	return nil
}

// answer is the resolver's answer.
func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
			A:   net.IPv4(127, 0, 0, 1),
		}}
	}
	_ = w.WriteMsg(m)
}

// serveAPI starts the ACME API with a certificate of its own.
func (s *Server) serveAPI(logger *log.Logger) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	s.apiRoot = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	s.url = "https://" + l.Addr().String() + wfe.DirectoryPath
	s.api = &http.Server{
		Handler:           s.faults,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:          logger,
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.serving.Go(func() { _ = s.api.ServeTLS(l, "", "") })
	return nil
}

// Close stops the CA. One goroutine of Pebble's, which waits for validations
// to do, cannot be stopped: va.VAImpl.processTasks.
func (s *Server) Close() error {
	s.shutdown.Do(func() {
		if s.api != nil {
			s.api.Close()
		}
		if s.dns != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = s.dns.ShutdownContext(ctx)
		}
		for _, f := range []*forwarder{s.tls, s.http} {
			if f != nil {
				f.close()
			}
		}
		s.serving.Wait()
	})
	return nil
}

// DirectoryURL returns the URL of the CA's directory.
func (s *Server) DirectoryURL() string { return s.url }

// APIRoots returns, as PEM, the root to trust for the CA's API.
func (s *Server) APIRoots() []byte { return s.apiRoot }

// APIPool returns the root to trust for the CA's API.
func (s *Server) APIPool() *x509.CertPool { return pool(s.apiRoot) }

// APIRootFile writes APIRoots to a file in dir and returns its path.
func (s *Server) APIRootFile(dir string) (string, error) {
	file := filepath.Join(dir, "ca-api-root.pem")
	return file, os.WriteFile(file, s.apiRoot, 0o600)
}

// Client returns an HTTP client for the CA's API, without idle connections.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.APIPool()}, DisableKeepAlives: true}}
}

// IssuerPEM returns the root of the certificates that the CA issues.
func (s *Server) IssuerPEM() []byte { return s.ca.GetRootCert(0).PEM() }

// IssuerPool returns the root of the certificates that the CA issues.
func (s *Server) IssuerPool() *x509.CertPool { return pool(s.IssuerPEM()) }

// IssuerFile writes IssuerPEM to a file in dir and returns its path.
func (s *Server) IssuerFile(dir string) (string, error) {
	file := filepath.Join(dir, "issuer-root.pem")
	return file, os.WriteFile(file, s.IssuerPEM(), 0o600)
}

// SetTLSTarget makes tls-alpn-01 validations go to addr, host:port. Until it
// is called, and with an empty addr, they are cut.
func (s *Server) SetTLSTarget(addr string) { s.tls.target.Store(&addr) }

// SetHTTPTarget makes http-01 validations go to addr, as SetTLSTarget does.
func (s *Server) SetHTTPTarget(addr string) { s.http.target.Store(&addr) }

func pool(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}
