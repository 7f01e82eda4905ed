package acme

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// reloadInterval is how often at most the files of a brought certificate are
// looked at for a change.
const reloadInterval = time.Minute

// A FileError is a file that cannot be used.
type FileError struct {
	Path string
	Err  error

	advice *hint.Advice // of this very file, or nil
	form   bool         // Err says what the file is
}

// Error implements error.
func (e *FileError) Error() string {
	var perr *fs.PathError
	if errors.As(e.Err, &perr) && perr.Path == e.Path {
		return e.Err.Error()
	}
	if e.form {
		return e.Path + " " + e.Err.Error()
	}
	return e.Path + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Hints says what to do, in one line each.
func (e *FileError) Hints() []string {
	if e.advice != nil {
		return e.advice.Do
	}
	if hints := hint.All(ownfile.Explain(e.Err, e.Path)); len(hints) > 0 {
		return hints
	}
	switch {
	case errors.Is(e.Err, fs.ErrPermission):
		return hint.FileClosed.With("FILE", e.Path)
	case errors.Is(e.Err, fs.ErrNotExist):
		return hint.FileMissing.With("FILE", e.Path)
	}
	return nil
}

// Files serves a certificate that was brought along as files. Make one with
// LoadFiles; its methods may be called from several goroutines.
type Files struct {
	certFile, keyFile string

	mu     sync.Mutex
	names  []string // that later certificates must be for; empty for any
	cert   *tls.Certificate
	stamps [2]stamp  // of the files that cert came from
	looked time.Time // when they were last looked at
	err    error     // why what is there now is not in use
	told   func(error)
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// LoadFiles reads a certificate chain and its key, both PEM. The error is a
// *FileError, whose Hints say what to do.
//
// The first certificate is taken as it is, also where Unfit has something
// against it. A later one that clients of name will refuse does not take the
// place of one that they accept. An empty name is not looked at.
func LoadFiles(certFile, keyFile, name string) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, names: []string{name}, looked: time.Now()}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// SetNames makes a later certificate take the place of one only when it is for all of
// those names that the one before is for. They replace the name of LoadFiles. Without
// names a later certificate need only be valid at that time.
func (f *Files) SetNames(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = slices.Clone(names)
	if len(names) == 0 {
		f.names = []string{""}
	}
}

// GetCertificate serves [tls.Config.GetCertificate]. Once a minute at most it
// looks whether the files have changed; while what is there cannot be used,
// the last good certificate is.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	// A clock that went back counts as a reason to look, too.
	d := time.Since(f.looked)
	f.mu.Unlock()
	if d >= reloadInterval || d < 0 {
		_, _ = f.Reload() // Err and OnReload tell
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cert, nil
}

// Reload looks at the files now. It reports whether what is there is not what
// was found before; the error is why it is not in use.
func (f *Files) Reload() (changed bool, err error) {
	f.mu.Lock()
	cert, before := f.cert, f.err
	f.looked = time.Now()
	f.err = f.load()
	err = f.err
	changed = f.cert != cert || (err == nil) != (before == nil) || err != nil && err.Error() != before.Error()
	told := f.told
	f.mu.Unlock()
	if changed && told != nil {
		told(err)
	}
	return changed, err
}

// OnReload makes f's later looks at the files call told when what is there is not
// what was found before, with nil when it is in use, else with the reason why
// not. Set it before the certificate is served. It must not block.
func (f *Files) OnReload(told func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = told
}

// Err returns why the files as they are now are not in use, nil where they are.
func (f *Files) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Unfit returns what clients of name will refuse about the certificate that is
// in use: that it is for other names, or not valid at that time. An empty name
// is not looked at. Who has issued it is for the others to judge.
func (f *Files) Unfit(name string, now time.Time) []error {
	f.mu.Lock()
	leaf := f.cert.Leaf
	f.mu.Unlock()
	return f.unfit(leaf, name, now)
}

func (f *Files) unfit(leaf *x509.Certificate, name string, now time.Time) []error {
	var errs []error
	if name != "" {
		if err := leaf.VerifyHostname(name); err != nil {
			errs = append(errs, &FileError{Path: f.certFile, Err: err, advice: hint.Unfit})
		}
	}
	var when string
	switch {
	case now.After(leaf.NotAfter):
		when = "it has expired on " + leaf.NotAfter.Format(time.RFC3339)
	case now.Before(leaf.NotBefore):
		when = "it is not valid before " + leaf.NotBefore.Format(time.RFC3339)
	default:
		return errs
	}
	return append(errs, &FileError{Path: f.certFile, Err: errors.New(when), advice: hint.Unfit})
}

// TLSConfig returns a configuration for visitors: TLS 1.2 or later, h2 and
// http/1.1.
func (f *Files) TLSConfig() *tls.Config { return serverConfig(f.GetCertificate) }

// load reads the files again if they have changed.
func (f *Files) load() error {
	var stamps [2]stamp
	for i, file := range []string{f.certFile, f.keyFile} {
		fi, err := os.Stat(file)
		if err != nil {
			return &FileError{Path: file, Err: err}
		}
		stamps[i] = stamp{fi.ModTime(), fi.Size()}
	}
	if f.cert != nil && stamps == f.stamps {
		return nil
	}
	certPEM, err := ownfile.Read(f.certFile)
	if err != nil {
		return &FileError{Path: f.certFile, Err: err}
	}
	keyPEM, err := ownfile.Read(f.keyFile)
	if err != nil {
		return &FileError{Path: f.keyFile, Err: err}
	}
	for _, file := range []struct {
		path string
		b    []byte
		key  bool
	}{{f.certFile, certPEM, false}, {f.keyFile, keyPEM, true}} {
		if err := ownfile.OtherForm(file.b, file.path, file.key); err != nil {
			return &FileError{Path: file.path, Err: err, form: true}
		}
	}
	if hasPassphrase(ownfile.PEM(keyPEM)) {
		return &FileError{Path: f.keyFile, Err: errors.New("the key has a passphrase"), advice: hint.KeyPassphrase}
	}
	cert, err := tls.X509KeyPair(ownfile.PEM(certPEM), ownfile.PEM(keyPEM))
	if err != nil {
		return &FileError{
			Path:   f.certFile,
			Err:    fmt.Errorf("with key %s: %w", f.keyFile, err),
			advice: hint.NoPair,
		}
	}
	if f.cert != nil {
		if err := f.worse(cert.Leaf, time.Now()); err != nil {
			return err // looked at again: the one in use may expire, or the new one become valid
		}
	}
	f.cert, f.stamps = &cert, stamps
	return nil
}

// worse returns what clients of one of the names will refuse about a certificate, where
// they accept the one in use.
func (f *Files) worse(leaf *x509.Certificate, now time.Time) error {
	for _, name := range f.names {
		if errs := f.unfit(leaf, name, now); len(errs) > 0 && len(f.unfit(f.cert.Leaf, name, now)) == 0 {
			return errs[0]
		}
	}
	return nil
}

// hasPassphrase reports whether the first key in text is encrypted, as PKCS #8
// (RFC 5958, section 3) or in the older form (RFC 1421, section 4.6.1.1).
func hasPassphrase(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
		}
	}
	return false
}
