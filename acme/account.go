package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// accountKey is the file of the account's private key. There is one in a
// folder, whatever the CA and the contact, since a CAA record may name the
// account (RFC 8657) and a CA counts per account.
const accountKey = "account.key"

// accountLock is held while the key is made or an account registered.
const accountLock = "account"

// registration is the file of the CA's answer to the registration.
func (i *issuer) registration() string {
	return path.Join("accounts", i.IssuerKey()+".json")
}

// account returns the account at the CA, registering it if need be.
func (i *issuer) account(ctx context.Context, client *acmez.Client) (acme.Account, error) {
	if err := i.store.Lock(ctx, accountLock); err != nil {
		return acme.Account{}, err
	}
	defer i.store.Unlock(ctx, accountLock)

	key, err := i.loadKey(ctx)
	if err != nil {
		return acme.Account{}, err
	}
	var acct acme.Account
	if b, err := i.store.Load(ctx, i.registration()); err == nil && json.Unmarshal(b, &acct) == nil &&
		acct.Status == acme.StatusValid && acct.Location != "" {
		acct.PrivateKey = key
		return acct, nil
	}

	// Nothing usable is known. Registering is harmless where the CA knows
	// the key: it answers with the account (RFC 8555 section 7.3.1).
	acct = acme.Account{PrivateKey: key, TermsOfServiceAgreed: true}
	if i.cfg.Email != "" {
		acct.Contact = []string{"mailto:" + i.cfg.Email}
	}
	if i.cfg.EABKeyID != "" {
		eab := acme.EAB{KeyID: i.cfg.EABKeyID, MACKey: i.cfg.EABMACKey}
		if err := acct.SetExternalAccountBinding(ctx, client.Client, eab); err != nil {
			return acme.Account{}, fmt.Errorf("bind external account: %w", err)
		}
	}
	if acct, err = client.NewAccount(ctx, acct); err != nil {
		return acme.Account{}, fmt.Errorf("register account: %w", err)
	}
	b, err := json.MarshalIndent(acct, "", "\t")
	if err == nil {
		err = i.store.Store(ctx, i.registration(), append(b, '\n'))
	}
	if err != nil {
		return acme.Account{}, fmt.Errorf("store account: %w", err)
	}
	i.log.Info("account registered", "ca", i.cfg.CA, "account", acct.Location)
	return acct, nil
}

// forgetAccount makes the next call of account register again.
func (i *issuer) forgetAccount(ctx context.Context) error {
	return i.store.Delete(ctx, i.registration())
}

// loadKey reads the account's key, or makes and stores one. A key that cannot
// be decoded is put aside, never deleted: somebody may want to mend it.
func (i *issuer) loadKey(ctx context.Context) (crypto.Signer, error) {
	file := i.store.Filename(accountKey)
	b, err := i.store.Load(ctx, accountKey)
	switch {
	case err == nil:
		key, err := certmagic.PEMDecodePrivateKey(b)
		if err == nil {
			return key, nil
		}
		aside := fmt.Sprintf("%s.broken-%d", file, time.Now().Unix())
		if rerr := os.Rename(file, aside); rerr != nil {
			return nil, &FileError{Path: file, Err: errors.Join(err, rerr)}
		}
		if err := i.forgetAccount(ctx); err != nil {
			return nil, fmt.Errorf("forget account: %w", err)
		}
		i.cfg.Logger.Error("account key is damaged and was put aside; a new account is made",
			"file", aside, "error", err,
			"hint", "a CAA record that names the old account must be changed to the new one")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &FileError{Path: file, Err: err}
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make account key: %w", err)
	}
	if b, err = certmagic.PEMEncodePrivateKey(key); err != nil {
		return nil, fmt.Errorf("encode account key: %w", err)
	}
	if err := i.store.Store(ctx, accountKey, b); err != nil {
		return nil, fmt.Errorf("store account key: %w", err)
	}
	return key, nil
}
