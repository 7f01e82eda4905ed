package acme

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/gofrs/flock"
	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/ownfile"
)

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 100 * time.Millisecond

// storage is certmagic's, but for its writing, which does not survive a loss of
// power, and its locks. Those are files with a time in them: after a kill -9
// they hold the next start up until the time is stale, for ever if the clock
// went back. The kernel's lock goes with the process.
type storage struct {
	*certmagic.FileStorage

	mu   sync.Mutex
	held map[string]*flock.Flock
}

func newStorage(dir string) *storage {
	return &storage{FileStorage: &certmagic.FileStorage{Path: dir}, held: make(map[string]*flock.Flock)}
}

// fit returns key with each part that is too long for a file's name made short:
// those of the longest host names are, with what certmagic adds.
func fit(key string) string {
	parts := strings.Split(key, "/")
	for n, part := range parts {
		parts[n] = ownfile.Name(part)
	}
	return strings.Join(parts, "/")
}

// Filename returns the path of the file for key.
func (s *storage) Filename(key string) string { return s.FileStorage.Filename(fit(key)) }

// Exists implements [certmagic.Storage].
func (s *storage) Exists(ctx context.Context, key string) bool {
	return s.FileStorage.Exists(ctx, fit(key))
}

// Load implements [certmagic.Storage].
func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := ownfile.NoPipe(s.Filename(key)); err != nil {
		return nil, noteFile(ctx, s.Filename(key), err)
	}
	return s.FileStorage.Load(ctx, fit(key))
}

// Delete implements [certmagic.Storage].
func (s *storage) Delete(ctx context.Context, key string) error {
	return s.FileStorage.Delete(ctx, fit(key))
}

// Stat implements [certmagic.Storage].
func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	info, err := s.FileStorage.Stat(ctx, fit(key))
	info.Key = key
	return info, err
}

// Store implements [certmagic.Storage].
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	file := s.Filename(key)
	err := ownfile.MkdirAll(filepath.Dir(file))
	if err == nil {
		err = ownfile.Write(file, value)
	}
	return noteFile(ctx, file, err)
}

// noteFile makes err, if there is one, a *FileError and keeps it in the attempt:
// certmagic passes it on as mere text.
func noteFile(ctx context.Context, file string, err error) error {
	if err == nil {
		return nil
	}
	err = &FileError{Path: file, Err: err}
	if at := attemptOf(ctx); at != nil {
		at.file = err
	}
	return err
}

// Lock implements [certmagic.Locker]. The file of a lock stays, since taking
// it away would let two processes hold the lock of the same name.
func (s *storage) Lock(ctx context.Context, name string) error {
	_, err := s.lock(name, func(l *flock.Flock) (bool, error) { return l.TryLockContext(ctx, lockPoll) })
	if errors.As(err, new(*fs.PathError)) {
		err = noteFile(ctx, filepath.Join(s.Path, "locks"), err)
	}
	return err
}

// TryLock implements certmagic.TryLocker.
func (s *storage) TryLock(_ context.Context, name string) (bool, error) {
	return s.lock(name, (*flock.Flock).TryLock)
}

func (s *storage) lock(name string, take func(*flock.Flock) (bool, error)) (bool, error) {
	dir := filepath.Join(s.Path, "locks")
	if err := ownfile.MkdirAll(dir); err != nil {
		return false, fmt.Errorf("make lock folder: %w", err)
	}
	l := flock.New(filepath.Join(dir, ownfile.Name(certmagic.StorageKeys.Safe(name)+".lock")), flock.SetPermissions(0o600))
	ok, err := false, ownfile.NoPipe(l.Path())
	if err == nil {
		ok, err = take(l)
	}
	if err != nil || !ok {
		_ = l.Close()
		if err != nil {
			err = fmt.Errorf("lock %s: %w", l.Path(), err)
		}
		return false, err
	}
	s.mu.Lock()
	s.held[name] = l
	s.mu.Unlock()
	return true, nil
}

// Unlock implements [certmagic.Locker].
func (s *storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	l := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("unlock %q: not held", name)
	}
	return l.Close()
}

// errUnusable marks a stored certificate that can be read but not used.
var errUnusable = errors.New("stored certificate is unusable")

// stored is a certificate from the folder and the CA's advice on its renewal.
type stored struct {
	cert   *tls.Certificate // with its Leaf
	issuer *issuer          // whose folder it was in
	other  bool             // its key is not of the kind that is asked for
	ari    acme.RenewalInfo // zero where the CA gives none (RFC 9773)
	loaded time.Time        // when it was read, with a reading of the monotonic clock
}

// valid reports whether s may be shown to visitors at now.
func (s *stored) valid(now time.Time) bool {
	return s != nil && shows(s.cert.Leaf, now, s.loaded, now.Sub(s.loaded))
}

// shows reports whether a certificate may be shown to visitors, where the clock says now,
// said so when it was read, and so much time has passed in between. One that is not valid
// yet may: then it is this machine's clock that is wrong. So may one that was valid when it
// was read, and has not run out in the time that has passed: then the clock was set
// meanwhile, and visitors have their own.
func shows(leaf *x509.Certificate, now, read time.Time, passed time.Duration) bool {
	if now.Before(leaf.NotAfter) {
		return true
	}
	return !read.Before(leaf.NotBefore) && read.Add(passed).Before(leaf.NotAfter)
}

// runsOut reports whether less than a tenth of its validity is left, or none.
func (s *stored) runsOut(now time.Time) bool {
	return s != nil && now.After(s.cert.Leaf.NotAfter.Add(-s.lifetime()/10))
}

// lifetime is from the beginning to the end of its validity, 0 for none.
func (s *stored) lifetime() time.Duration {
	if s == nil {
		return 0
	}
	return s.cert.Leaf.NotAfter.Sub(s.cert.Leaf.NotBefore)
}

// load reads the certificate for name that this issuer made. It
// returns nil and no error where there is none, and wraps errUnusable where
// what there is makes no certificate for name.
func (s *storage) load(ctx context.Context, i *issuer, name string) (*stored, error) {
	issuerKey := i.IssuerKey()
	certFile := certmagic.StorageKeys.SiteCert(issuerKey, name)
	certPEM, err := s.Load(ctx, certFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &FileError{Path: s.Filename(certFile), Err: err}
	}
	keyFile := certmagic.StorageKeys.SitePrivateKey(issuerKey, name)
	keyPEM, err := s.Load(ctx, keyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &FileError{Path: s.Filename(keyFile), Err: err}
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err == nil {
		err = cert.Leaf.VerifyHostname(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnusable, s.Filename(certFile), err)
	}

	// The advice is only that: without it the lifetime decides.
	var meta struct {
		IssuerData acme.Certificate `json:"issuer_data"`
	}
	_, isRSA := cert.Leaf.PublicKey.(*rsa.PublicKey)
	st := &stored{cert: &cert, issuer: i, other: isRSA != i.cfg.RSA, loaded: time.Now()}
	if b, err := s.Load(ctx, certmagic.StorageKeys.SiteMeta(issuerKey, name)); err == nil &&
		json.Unmarshal(b, &meta) == nil && meta.IssuerData.RenewalInfo != nil {
		st.ari = *meta.IssuerData.RenewalInfo
	}
	return st, nil
}

// discard deletes the certificate for name.
func (s *storage) discard(ctx context.Context, i *issuer, name string) error {
	return s.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(i.IssuerKey(), name))
}
