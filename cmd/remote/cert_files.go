package main

import (
	"log/slog"
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
		for _, name := range names {
			for _, err := range files.Unfit(name, time.Now()) {
				log.Warn("visitors will refuse the certificate", "err", err, hint.Attr(hint.All(err)))
			}
		}
		if err := files.Incomplete(roots); err != nil {
			log.Warn("visitors may refuse the certificate", "err", err, hint.Attr(hint.All(err)))
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
