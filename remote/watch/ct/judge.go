package ct

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
)

// ask asks what is new for a name, page after page until an empty one, and judges it.
func (w *Watch) ask(ctx context.Context, n Name, e *entry) error {
	for range maxPages {
		list, wait, err := w.question(ctx, n.Domain, e.After)
		if later := time.Now().Add(wait); later.After(e.next) {
			e.next = later
		}
		var refused *answerError
		if errors.As(err, &refused) {
			switch {
			case wait > 0:
				w.paused = time.Now().Add(wait)
			case refused.limited:
				w.paused = time.Now().Add(interval)
			}
			return err
		}
		if len(list) > 0 && list[len(list)-1].ID == e.After {
			return errors.New("the monitor's answers go round in circles")
		}
		for _, i := range list {
			if err := w.judge(n, e, i); err != nil {
				return err // the device's own record cannot be read: this one is asked for again
			}
			e.After = i.ID
		}
		if err != nil || len(list) == 0 || wait > 0 {
			return err
		}
	}
	return nil
}

// judge looks at one issuance. The error is one of Config.Known.
func (w *Watch) judge(n Name, e *entry, i issuance) error {
	cert, err := x509.ParseCertificate(i.DER)
	if err != nil {
		w.log.Warn("a certificate in certificate transparency cannot be read, and so its key not be compared", "name", n.Domain, "id", i.ID, "err", err)
		return nil
	}
	if !isFor(cert, n.Domain) {
		w.log.Debug("the monitor shows a certificate for other names", "name", n.Domain, "id", i.ID)
		return nil
	}
	key := keyOf(cert)
	_, known, err := w.cfg.Known(key)
	switch {
	case err != nil:
		return err
	case known:
		e.see(hexOf(key))
		return nil
	}
	begun, err := w.cfg.Begun()
	if err != nil {
		return err
	}
	old := cert.NotBefore.Before(begun)
	if !e.keep(Foreign{Key: hexOf(key), ID: i.ID, DER: cert.Raw, NotAfter: cert.NotAfter, Found: time.Now(), Old: old}) {
		w.log.Error("there are more certificates with foreign keys in certificate transparency than are kept", "name", n.Domain, "id", i.ID, "key", "sha256:"+hexOf(key))
	}
	return nil
}

// tell tells Config.Found of the keys that are not known, and forgets those that are, and
// those whose certificates have expired.
func (w *Watch) tell(n Name, e *entry) {
	e.Foreign = slices.DeleteFunc(e.Foreign, func(f Foreign) bool {
		cert, err := x509.ParseCertificate(f.DER)
		if err != nil || time.Now().After(f.NotAfter) {
			return true
		}
		key := keyOf(cert)
		_, known, err := w.cfg.Known(key)
		if known {
			w.log.Info("a key in certificate transparency is this device's own after all", "name", n.Domain, "key", "sha256:"+f.Key)
			e.see(f.Key)
			return true
		}
		if err != nil || n.Brought && time.Since(f.Found) < grace || time.Since(e.told[f.Key]) < again {
			return false
		}
		e.told[f.Key] = time.Now()
		w.cfg.Found(Finding{Name: n.Domain, Key: key, Certificate: cert, ID: f.ID, Old: f.Old})
		return false
	})
}

// isFor reports whether a certificate is for a name, be it by a wildcard, or by nothing
// but its common name, which some clients still take.
func isFor(cert *x509.Certificate, name string) bool {
	return cert.VerifyHostname(name) == nil || strings.EqualFold(strings.TrimSuffix(cert.Subject.CommonName, "."), name)
}

// keyOf returns the SHA-256 of a certificate's SubjectPublicKeyInfo.
func keyOf(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

func hexOf(key [sha256.Size]byte) string { return hex.EncodeToString(key[:]) }
