package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// accountKey is the file of the private key that the accounts at all CAs share.
// There is one in a folder, whatever the contact, since a CAA record may name
// the account (RFC 8657) and a CA counts per account. No CA's word replaces it:
// a CA that refuses it gets a key of its own, see ownKeyFile.
const accountKey = "account.key"

// accountsDir is the folder of what belongs to the account at one CA.
const accountsDir = "accounts"

// accountLock is held while the key is made or an account registered.
const accountLock = "account"

// A registration is what the folder keeps of an account: the CA's answer, and
// which key it was given for. Registrations of older versions lack the key.
type registration struct {
	acme.Account
	Key string `json:"key,omitempty"` // JWK thumbprint (RFC 7638)
}

// ownKeyFile is where the key for this CA alone is kept. There is one only where
// the CA has refused the shared key, and it goes before the shared one.
func (i *issuer) ownKeyFile() string {
	return path.Join(accountsDir, i.IssuerKey()+".key")
}

// registrationFile is where the registration at this CA is kept.
func (i *issuer) registrationFile() string {
	return path.Join(accountsDir, i.IssuerKey()+".json")
}

// account returns the account at the CA, registering it if need be. Refused is
// the URL of an account that the CA has just refused, or empty: what is stored
// of that account is not believed, and the CA is asked again.
func (i *issuer) account(ctx context.Context, client *acmez.Client, refused string) (acme.Account, error) {
	if err := i.store.Lock(ctx, accountLock); err != nil {
		return acme.Account{}, err
	}
	defer i.store.Unlock(ctx, accountLock)

	key, err := i.loadKey(ctx)
	if err != nil {
		return acme.Account{}, err
	}
	if acct, ok := i.registered(ctx, key); ok && acct.Location != refused {
		return acct, nil
	}

	// Registering is harmless where the CA knows the key: it answers with the
	// account (RFC 8555 section 7.3.1).
	acct, err := i.register(ctx, client, key)
	if isDead(acct, err) {
		if acct, err = i.replaceKey(ctx, client, acct, err); err != nil {
			return acme.Account{}, err
		}
	}
	if err != nil {
		return acme.Account{}, err
	}
	if acct.Location != refused {
		i.log.Info("account registered", "ca", i.ca, "account", acct.Location)
	}
	return acct, i.remember(ctx, acct)
}

// registered returns the account that is stored for key, if there is one.
func (i *issuer) registered(ctx context.Context, key crypto.Signer) (acme.Account, bool) {
	var r registration
	b, err := i.store.Load(ctx, i.registrationFile())
	if err != nil || json.Unmarshal(b, &r) != nil || r.Status != acme.StatusValid || r.Location == "" {
		return acme.Account{}, false
	}
	r.PrivateKey = key
	print, err := r.Thumbprint()
	return r.Account, err == nil && (r.Key == "" || r.Key == print)
}

// remember stores the account with its key's thumbprint.
func (i *issuer) remember(ctx context.Context, acct acme.Account) error {
	print, err := acct.Thumbprint()
	if err != nil {
		return fmt.Errorf("store account: %w", err)
	}
	b, err := json.MarshalIndent(registration{acct, print}, "", "\t")
	if err == nil {
		err = i.store.Store(ctx, i.registrationFile(), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("store account: %w", err)
	}
	return nil
}

// register asks the CA for the account of key.
func (i *issuer) register(ctx context.Context, client *acmez.Client, key crypto.Signer) (acme.Account, error) {
	acct := acme.Account{PrivateKey: key, TermsOfServiceAgreed: true}
	if i.cfg.Email != "" {
		acct.Contact = []string{"mailto:" + i.cfg.Email}
	}
	bind, err := i.binds(ctx, client)
	if err != nil {
		return acme.Account{}, fmt.Errorf("register account: %w", err)
	}
	at := attemptOf(ctx)
	if at.binding = bind; bind {
		eab := acme.EAB{KeyID: i.cfg.EABKeyID, MACKey: i.cfg.EABMACKey}
		if err := acct.SetExternalAccountBinding(ctx, client.Client, eab); err != nil {
			return acme.Account{}, fmt.Errorf("bind external account: %w", err)
		}
	}
	acct, err = client.NewAccount(ctx, acct)
	if err != nil {
		return acme.Account{}, fmt.Errorf("register account: %w", err)
	}
	at.binding = false
	if acct.Location == "" {
		return acme.Account{}, errors.New("register account: the CA names no account")
	}
	return acct, nil
}

// binds reports whether the account is to be bound to one that the CA gave out.
// With several CAs that is asked of their directories, since one gave it out.
func (i *issuer) binds(ctx context.Context, client *acmez.Client) (bool, error) {
	if i.cfg.EABKeyID == "" || len(i.cfg.OtherCAs) == 0 {
		return i.cfg.EABKeyID != "", nil
	}
	dir, err := client.GetDirectory(ctx)
	return err == nil && dir.Meta != nil && dir.Meta.ExternalAccountRequired, err
}

// isDead reports whether the answer to a registration may say that no account
// can be had with this key any more: it was deactivated or revoked, or the CA
// takes no keys of its kind.
func isDead(acct acme.Account, err error) bool {
	var p acme.Problem
	if !errors.As(err, &p) {
		return err == nil && (acct.Status == acme.StatusDeactivated || acct.Status == acme.StatusRevoked)
	}
	switch p.Type {
	case acme.ProblemTypeUnauthorized, acme.ProblemTypeBadPublicKey, acme.ProblemTypeBadSignatureAlgorithm:
		return true
	}
	return false
}

// replaceKey registers with a new key for this CA alone, where the CA answered
// so to the key that it was asked with. The shared key stays, since it may be
// good at other CAs; a key that was already for this CA alone is put aside.
// Where the new key fares no better, nothing is stored and the answer to the old
// key is returned: then the cause is another, such as a wrong external account
// binding.
func (i *issuer) replaceKey(ctx context.Context, client *acmez.Client, old acme.Account, oldErr error) (acme.Account, error) {
	key, b, err := newKey()
	if err != nil {
		return acme.Account{}, err
	}
	acct, err := i.register(ctx, client, key)
	if err != nil || acct.Status != acme.StatusValid {
		if oldErr == nil {
			oldErr = fmt.Errorf("register account: its status is %q", old.Status)
		}
		return acme.Account{}, oldErr
	}
	file := i.ownKeyFile()
	if _, err := i.putAside(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return acme.Account{}, err
	}
	if err := i.store.Store(ctx, file, b); err != nil {
		return acme.Account{}, fmt.Errorf("store account key: %w", err)
	}
	i.cfg.Logger.Error("the CA gives the account's key no account; a key for this CA alone was made, and a new account",
		"ca", i.ca, "file", i.store.Filename(file), "error", oldErr, hint.Attr(hint.NewAccount.Do))
	return acct, nil
}

// loadKey reads the account's key for this CA, or makes and stores a shared one.
func (i *issuer) loadKey(ctx context.Context) (crypto.Signer, error) {
	for _, file := range []string{i.ownKeyFile(), accountKey} {
		if key, err := i.readKey(ctx, file); key != nil || err != nil {
			return key, err
		}
	}
	key, b, err := newKey()
	if err != nil {
		return nil, err
	}
	if err := i.store.Store(ctx, accountKey, b); err != nil {
		return nil, fmt.Errorf("store account key: %w", err)
	}
	return key, nil
}

// readKey reads an account's key from a file, and returns nil where there is
// none. A key that cannot be used is put aside, never deleted: somebody may want
// to mend it.
func (i *issuer) readKey(ctx context.Context, name string) (crypto.Signer, error) {
	file := i.store.Filename(name)
	b, err := i.store.Load(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &FileError{Path: file, Err: err}
	}
	key, err := decodeKey(ownfile.PEM(b))
	if err == nil {
		if err := ownfile.Protect(file); err != nil {
			i.cfg.Logger.Warn(err.Error(), hint.Attr(hint.All(err)))
		}
		return key, nil
	}
	aside, aerr := i.putAside(name)
	if aerr != nil {
		return nil, errors.Join(err, aerr)
	}
	i.cfg.Logger.Error("account key is damaged and was put aside, and a new account is made",
		"file", aside, "error", err, hint.Attr(hint.NewAccount.Do))
	return nil, nil
}

// decodeKey reads an account's key. Ed25519 keys are not among those that sign
// requests here.
func decodeKey(b []byte) (crypto.Signer, error) {
	// openssl writes a block of parameters before an EC key.
	for {
		block, rest := pem.Decode(b)
		if block == nil || block.Type != "EC PARAMETERS" {
			break
		}
		b = rest
	}
	key, err := certmagic.PEMDecodePrivateKey(b)
	if err != nil {
		return nil, err
	}
	switch key.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("a key of type %T signs no request", key)
}

// newKey makes an account's key, and its file.
func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make account key: %w", err)
	}
	b, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode account key: %w", err)
	}
	return key, b, nil
}

// putAside renames the file of an account's key, and returns its new name.
func (i *issuer) putAside(name string) (string, error) {
	file := i.store.Filename(name)
	aside := fmt.Sprintf("%s.broken-%d", file, time.Now().UnixNano())
	if err := os.Rename(file, aside); err != nil {
		return "", &FileError{Path: file, Err: err}
	}
	return aside, nil
}
