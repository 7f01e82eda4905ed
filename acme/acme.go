package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"keystay/internal/ownfile"
)

// LetsEncrypt is the directory of the CA used where Config.CA is empty.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("acme: closed")
	// ErrUnknownName is returned for a name that is not managed.
	ErrUnknownName = errors.New("acme: name is not managed")
	// ErrNoCertificate is returned while a managed name has no valid certificate.
	ErrNoCertificate = errors.New("acme: no valid certificate yet")
)

// Config says where certificates come from and where they are kept.
// Only Dir is required.
type Config struct {
	// Dir is the folder of the account key, the certificates and their keys.
	// It is made with mode 0700, its files with 0600. Several processes may
	// share one.
	Dir string

	// CA is the URL of the CA's directory (RFC 8555 section 7.1.1);
	// empty means Let's Encrypt.
	CA string

	// OtherCAs are asked, in their order, when those before them cannot or will
	// not give a certificate. A renewal begins with CA again. Each has an
	// account of its own, with the same key.
	OtherCAs []string

	// Roots are trusted for the API of every CA; nil means the system's.
	Roots *x509.CertPool

	// Proxy chooses a proxy for the CA's API; nil means the convention of
	// the environment (HTTPS_PROXY, ALL_PROXY and NO_PROXY).
	Proxy func(*http.Request) (*url.URL, error)

	// Email is the contact of an account that is registered, with agreement
	// to the CA's terms, at the first order. It may be empty; a later change
	// does not reach the CA.
	Email string

	// EABKeyID and EABMACKey (base64) bind the account to one that the CA
	// knows by other means (RFC 8555 section 7.3.4). Both or neither. Where
	// there are several CAs, those get the binding whose directory asks for one.
	EABKeyID, EABMACKey string

	// RSA orders certificates for RSA keys of 2048 bits, for visitors who know
	// no other; otherwise the keys are ECDSA keys on P-256. A certificate for the
	// other kind is replaced at once.
	RSA bool

	// NoTLSALPN01 and NoHTTP01 turn off a kind of validation that cannot
	// arrive here. With both kinds on, tls-alpn-01 goes first and they take
	// turns after a refusal.
	NoTLSALPN01, NoHTTP01 bool

	// Rehearsal looks for the answer to a validation before the CA is asked to; nil
	// means that the CA is the first.
	Rehearsal *Rehearsal

	// Ready blocks until the CA's validation of name can arrive, or ctx ends.
	// An order starts only after it has returned nil; an error counts as a
	// failed attempt. Nil means always ready.
	Ready func(ctx context.Context, name string) error

	// Turn is called once an order would begin, after Ready, and blocks until others
	// let it, such as another process that orders for the same name. Where ctx ends
	// first it may be called again, for the same attempt: orders for other names go on
	// meanwhile. An error counts as a failed attempt. Each end of the attempt is told
	// with an Event. Nil means that nobody is asked.
	Turn func(ctx context.Context, name string) error

	// Hold returns until when no new certificate for name is to be ordered from
	// CA, since others need its limit, such as the names of one registered domain;
	// the zero time is not at all. It is asked after Ready. OtherCAs are asked
	// meanwhile. A certificate of this CA that is renewed does not wait. Nil means
	// that none waits.
	Hold func(name string) time.Time

	// Logger hears what is done; nil discards it. No key, token or visitor
	// is ever logged.
	Logger *slog.Logger

	// Notify is told each Event, one at a time for each name. It must not
	// block for long, nor call Close. May be nil.
	Notify func(Event)
}

// A Keeper keeps certificates. Make one with New; its methods may be called
// from several goroutines.
type Keeper struct {
	cfg     Config
	log     *slog.Logger
	store   *storage
	keys    *Keys
	issuers []*issuer // one for each CA, in the order to ask them
	answers *challenges
	cache   *certmagic.Cache
	http    *http.Client // for the CAs' APIs
	queue   queue        // of orders

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	names  map[string]*entry
}

// New makes the folder if need be and returns a Keeper that manages no name
// yet. It does not use the network. The caller closes it.
func New(cfg Config) (*Keeper, error) {
	switch {
	case cfg.Dir == "":
		return nil, errors.New("acme: no folder given")
	case cfg.NoTLSALPN01 && cfg.NoHTTP01:
		return nil, errors.New("acme: every kind of validation is turned off")
	case (cfg.EABKeyID == "") != (cfg.EABMACKey == ""):
		return nil, errors.New("acme: external account binding needs both a key id and a MAC key")
	}
	// CAs show the key in either alphabet of base64, padded or not.
	cfg.EABMACKey = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(cfg.EABMACKey)
	if cfg.CA == "" {
		cfg.CA = LetsEncrypt
	}
	cas := append([]string{cfg.CA}, cfg.OtherCAs...)
	for _, ca := range cas {
		if u, err := url.Parse(ca); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("acme: the CA must be an https URL: %q", ca)
		}
	}
	if err := ownfile.MkdirAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("acme: make folder: %w", &FileError{Path: cfg.Dir, Err: err})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}

	k := &Keeper{
		cfg:     cfg,
		log:     cfg.Logger,
		store:   newStorage(cfg.Dir),
		keys:    OpenKeys(cfg.Dir),
		answers: newChallenges(),
		names:   make(map[string]*entry),
	}
	if err := k.keys.begin(filepath.Join(cfg.Dir, "certificates")); err != nil {
		return nil, fmt.Errorf("acme: begin the record of keys: %w", err)
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	// certmagic's cache stays empty, so that its own renewals, whose first
	// retry comes after a minute and which know no gate, have nothing to do.
	k.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return k.issuers[0].magic, nil },
		Logger:           zap.NewNop(),
	})
	k.http = newHTTPClient(cfg.Roots, cfg.Proxy)
	keyType := certmagic.P256
	if cfg.RSA {
		keyType = certmagic.RSA2048
	}
	for _, ca := range cas {
		i := &issuer{
			ca:      ca,
			cfg:     cfg,
			log:     slog.New(demote{cfg.Logger.Handler()}),
			plain:   cfg.Logger,
			http:    k.http,
			store:   k.store,
			keys:    k.keys,
			answers: k.answers,
		}
		i.magic = certmagic.New(k.cache, certmagic.Config{
			Storage:   k.store,
			Logger:    zap.NewNop(), // every error comes back as one
			Issuers:   []certmagic.Issuer{i},
			OCSP:      certmagic.OCSPConfig{DisableStapling: true},
			KeySource: certmagic.StandardKeyGenerator{KeyType: keyType},
		})
		k.issuers = append(k.issuers, i)
	}
	return k, nil
}

// Manage begins to keep a certificate for name, which must be a plain host
// name. A valid certificate in the folder is in use when Manage returns,
// without the network; otherwise one is ordered in the background. Managing a
// name again does nothing. After Close the error is ErrClosed.
func (k *Keeper) Manage(name string) error {
	name, err := normalize(name)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(k.ctx)
	e := newEntry(name, ctx.Done(), stop)
	k.adopt(e)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.names[name] != nil {
		stop()
		if k.closed {
			return ErrClosed
		}
		return nil
	}
	k.names[name] = e
	k.wg.Go(func() { k.keep(ctx, e) })
	return nil
}

// Forget stops keeping a certificate for name and answers for it no more.
// What is in the folder stays there.
func (k *Keeper) Forget(name string) {
	name, err := normalize(name)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.names[name]; e != nil {
		e.stop()
		delete(k.names, name)
	}
}

// Wait blocks until name has a valid certificate. It returns the error of ctx
// if that ends first, ErrUnknownName for a name that is not managed or is
// forgotten meanwhile, and ErrClosed after Close.
func (k *Keeper) Wait(ctx context.Context, name string) error {
	gone := func() error {
		if k.ctx.Err() != nil {
			return ErrClosed
		}
		return ErrUnknownName
	}
	e := k.lookup(name)
	if e == nil {
		return gone()
	}
	for {
		cur, changed := e.state()
		if cur.valid(time.Now()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.done:
			return gone()
		}
	}
}

// Certificate returns the valid certificate for name, its Leaf set. The error
// is ErrUnknownName or ErrNoCertificate, wrapped. The caller must not change
// what it is given.
func (k *Keeper) Certificate(name string) (*tls.Certificate, error) {
	e := k.lookup(name)
	if e == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	cur, _ := e.state()
	if !cur.valid(time.Now()) {
		return nil, fmt.Errorf("%w: %q", ErrNoCertificate, name)
	}
	return cur.cert, nil
}

// Kick looks at the given names again now, or without any at every name: after a session has come back, the
// machine has slept or its clock has jumped. What is due is renewed at once,
// also where the last attempt failed for want of a network, but not more and more
// often; a CA that refused is left alone until the time it was given.
func (k *Keeper) Kick(names ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := slices.Collect(maps.Values(k.names))
	if len(names) > 0 {
		list = nil
		for _, name := range names {
			if e := k.names[name]; e != nil {
				list = append(list, e)
			}
		}
	}
	for _, e := range list {
		select {
		case e.kick <- struct{}{}:
		default:
		}
	}
}

// Close stops everything and waits for it. No certificate is served after it.
func (k *Keeper) Close() error {
	k.mu.Lock()
	closed := k.closed
	k.closed = true
	k.cancel() // before the names go, so that Wait says why they are gone
	clear(k.names)
	k.mu.Unlock()
	if closed {
		return nil
	}
	k.wg.Wait()
	k.cache.Stop()
	k.http.CloseIdleConnections()
	return nil
}

// lookup returns the entry of a managed name, or nil.
func (k *Keeper) lookup(name string) *entry {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.names[name]
}

// notify passes ev on.
func (k *Keeper) notify(ev Event) {
	if k.cfg.Notify != nil {
		k.cfg.Notify(ev)
	}
}
