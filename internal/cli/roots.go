package cli

import (
	"crypto/x509"
	"fmt"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// Roots reads a file of root certificates, PEM or one in DER, for the setting
// of that name. No file means the system's roots, which is nil.
func Roots(setting, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := ownfile.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, ownfile.ExplainNamed(err, file))
	}
	pool := x509.NewCertPool()
	if pool.AppendCertsFromPEM(ownfile.PEM(b)) {
		return pool, nil
	}
	cert, err := x509.ParseCertificate(b)
	if form := ownfile.OtherForm(b, file, false); err != nil && form != nil {
		return nil, fmt.Errorf("%s: %s %w", setting, file, form)
	}
	if err != nil {
		return nil, hint.NoRoots.Error(fmt.Errorf("%s: %s holds no certificate", setting, file), "FILE", file)
	}
	pool.AddCert(cert)
	return pool, nil
}
