package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/ownfile"
)

// maxAccounts is how many CAs' accounts a folder is looked through for.
const maxAccounts = 64

// Accounts returns the URLs of the accounts that a folder, as Config.Dir, has at CAs,
// sorted. A CAA record may name one (RFC 8657). None is no error: there is no account
// before the first order. Nothing is changed.
func Accounts(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, accountsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("acme: read accounts: %w", &FileError{Path: filepath.Join(dir, accountsDir), Err: err})
	}
	store := newStorage(dir)
	var urls []string
	for _, e := range entries[:min(len(entries), maxAccounts)] {
		ca, ok := strings.CutSuffix(e.Name(), ".json")
		if url := accountURL(store, ca); ok && url != "" && !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	slices.Sort(urls)
	return urls, nil
}

// Account returns the URL of the account at the CA that has issued the certificate for
// name, or "" where there is no certificate, or its account is not known any more.
func (k *Keeper) Account(name string) string {
	e := k.lookup(name)
	if e == nil {
		return ""
	}
	cur, _ := e.state()
	if cur == nil {
		return ""
	}
	return accountURL(k.store, cur.issuer.IssuerKey())
}

// accountURL is the account that is stored for a CA and for the key that is used there,
// or "".
func accountURL(store *storage, ca string) string {
	ctx := context.Background() // of reading files
	var r registration
	b, err := store.Load(ctx, path.Join(accountsDir, ca+".json"))
	if err != nil || json.Unmarshal(b, &r) != nil || r.Status != acme.StatusValid {
		return ""
	}
	if r.Key == "" {
		return r.Location
	}
	for _, file := range []string{path.Join(accountsDir, ca+".key"), accountKey} {
		b, err := store.Load(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var key crypto.Signer
		if err == nil {
			key, err = decodeKey(ownfile.PEM(b))
		}
		r.PrivateKey = key
		if err != nil {
			return ""
		}
		if print, err := r.Thumbprint(); err != nil || print != r.Key {
			return ""
		}
		return r.Location
	}
	return ""
}
