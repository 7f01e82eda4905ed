package main

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// certFiles loads the certificate that was brought for a service, or returns nil.
func certFiles(cfg *config.Remote, s config.Service, log *slog.Logger) (*acme.Files, error) {
	if s.Cert == "" {
		return nil, nil
	}
	roots, err := cli.Roots("--relay-root", cfg.RelayRoot) // the CA of the relay may be the visitors' too
	if err != nil {
		return nil, err
	}
	files, err := acme.LoadFiles(s.Cert, s.Key, "")
	if err != nil {
		return nil, err
	}
	names := s.Domains
	if len(names) == 0 {
		names = []string{""}
	}
	files.SetNames(names...)
	judge := func() { // again after each change, which may have mended the files
		for _, d := range doubts(files, names, roots) {
			log.Warn(d.message, "err", d.err, hint.Attr(hint.All(d.err)))
		}
	}
	if err := ownfile.Exposed(s.Key); err != nil {
		log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	judge()
	files.OnReload(func(err error) {
		if err != nil {
			log.Error("the new certificate is not in use; the one from before is", "err", err, hint.Attr(hint.All(err)))
			return
		}
		log.Info("certificate reloaded")
		judge()
	})
	return files, nil
}

// A doubt is why visitors may refuse a certificate.
type doubt struct {
	message string
	err     error
}

// doubts returns why visitors of names may refuse a certificate.
func doubts(files *acme.Files, names []string, roots *x509.CertPool) (all []doubt) {
	for _, name := range names {
		for _, err := range files.Unfit(name, time.Now()) {
			if !slices.ContainsFunc(all, func(d doubt) bool { return d.err.Error() == err.Error() }) {
				all = append(all, doubt{"visitors will refuse the certificate", err})
			}
		}
	}
	if err := files.Incomplete(roots); err != nil {
		all = append(all, doubt{"visitors may refuse the certificate", err})
	}
	return all
}

// certWarnings returns why visitors may refuse the certificates that were brought.
func certWarnings(cfg *config.Remote) (all []config.Warning, err error) {
	roots, err := cli.Roots("--relay-root", cfg.RelayRoot)
	if err != nil {
		return nil, err
	}
	for i, s := range cfg.Services {
		if s.Cert == "" {
			continue
		}
		files, err := acme.LoadFiles(s.Cert, s.Key, "")
		if err != nil {
			return nil, err
		}
		names := s.Domains
		if len(names) == 0 {
			names = []string{""}
		}
		key := fmt.Sprintf("services[%d].cert", i)
		for _, d := range doubts(files, names, roots) {
			all = append(all, config.Warning{Key: key, Message: key + ": " + d.message + ": " + d.err.Error(), Hints: hint.All(d.err)})
		}
		if err := ownfile.Exposed(s.Key); err != nil {
			all = append(all, config.Warning{Key: key, Message: err.Error(), Hints: hint.All(err)})
		}
	}
	return all, nil
}

// reloadFiles reads the files of a certificate again. Files that cannot be used leave the
// certificate that is in use.
func reloadFiles(files *acme.Files, log *slog.Logger) {
	switch changed, err := files.Reload(); {
	case changed: // which OnReload tells
	case err != nil:
		log.Warn("the certificate's files have not changed, and are not in use", "err", err, hint.Attr(hint.All(err)))
	default:
		log.Info("the certificate's files have not changed")
	}
}
