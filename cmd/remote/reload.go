package main

import (
	"log/slog"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/remote"
)

// certFiles loads the certificate that was brought, or returns nil.
func certFiles(cfg *config.Remote, log *slog.Logger) (*acme.Files, error) {
	if cfg.Services[0].Cert == "" {
		return nil, nil
	}
	roots, err := cli.Roots("--relay-root", cfg.RelayRoot) // the CA of the relay may be the visitors' too
	if err != nil {
		return nil, err
	}
	files, err := acme.LoadFiles(cfg.Services[0].Cert, cfg.Services[0].Key, "")
	if err != nil {
		return nil, err
	}
	judge := func() { // what is wrong may be mended meanwhile
		for _, err := range files.Unfit(cfg.Domain, time.Now()) {
			log.Warn("visitors will refuse the certificate", "err", err, hint.Attr(hint.All(err)))
		}
		if err := files.Incomplete(roots); err != nil {
			log.Warn("visitors may refuse the certificate", "err", err, hint.Attr(hint.All(err)))
		}
	}
	if err := ownfile.Exposed(cfg.Services[0].Key); err != nil {
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

// reload reads again what can change while the remote runs: the files of the
// certificate that was brought, and the token's. What cannot be used leaves what
// is in use.
func reload(cfg *config.Remote, files *acme.Files, ln *remote.Listener, log *slog.Logger) {
	if files != nil {
		switch changed, err := files.Reload(); {
		case changed:
		case err != nil:
			log.Warn("the certificate's files have not changed, and are not in use", "err", err, hint.Attr(hint.All(err)))
		default:
			log.Info("the certificate's files have not changed")
		}
	}
	if cfg.TokenFile != "" {
		token, err := cfg.ReadToken()
		if err != nil {
			log.Error("the token is not reloaded; the one from before is in use", "err", err, hint.Attr(hint.All(err)))
		} else {
			ln.SetToken(string(token))
			log.Info("token reloaded")
		}
	}
	if files == nil && cfg.TokenFile == "" {
		log.Info("SIGHUP: there is nothing to reload; settings are read at the start")
	}
}
