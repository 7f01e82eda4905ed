package e2e

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	acmeproto "github.com/mholt/acmez/v3/acme"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
)

// deactivate ends the account in dir at its CA (RFC 8555 section 7.3.6).
func deactivate(t *testing.T, p *pebble.Server, dir string) {
	t.Helper()
	key, err := certmagic.PEMDecodePrivateKey(read(t, filepath.Join(dir, "account.key")))
	if err != nil {
		t.Fatal(err)
	}
	client := &acmez.Client{Client: &acmeproto.Client{Directory: p.DirectoryURL(), HTTPClient: p.Client()}}
	acct, err := client.GetAccount(t.Context(), acmeproto.Account{PrivateKey: key})
	if err == nil {
		acct.Status = acmeproto.StatusDeactivated
		_, err = client.UpdateAccount(t.Context(), acct)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is stored of the account is not believed when the CA says no: where an
// account can be had, the next order gets its certificate.
func TestStoredAccountIsNotBelievedAgainstTheCA(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		damage  func(t *testing.T, p *pebble.Server, dir string)
		sameKey bool // the shared key is kept, since whatever names an account by it should hold
	}{
		{"the key is lost", func(t *testing.T, _ *pebble.Server, dir string) {
			if err := os.Remove(filepath.Join(dir, "account.key")); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the key is lost, and an older version wrote the registration", func(t *testing.T, _ *pebble.Server, dir string) {
			forgetKey(t, dir)
			if err := os.Remove(filepath.Join(dir, "account.key")); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the key is another account's", func(t *testing.T, p *pebble.Server, dir string) {
			forgetKey(t, dir)
			write(t, filepath.Join(dir, "account.key"), read(t, filepath.Join(certified(t, p), "account.key")))
		}, true},
		{"the key is of a kind that signs no request", func(t *testing.T, _ *pebble.Server, dir string) {
			write(t, filepath.Join(dir, "account.key"), ed25519PEM(t))
		}, false},
		{"the key is empty", func(t *testing.T, _ *pebble.Server, dir string) {
			write(t, filepath.Join(dir, "account.key"), nil)
		}, false},
		{"the account is deactivated", deactivate, true}, // a key for this CA alone is made beside it
		{"the registration is empty", func(t *testing.T, _ *pebble.Server, dir string) {
			write(t, only(t, filepath.Join(dir, "accounts"), ".json"), nil)
		}, true},
		{"the registration is no JSON", func(t *testing.T, _ *pebble.Server, dir string) {
			write(t, only(t, filepath.Join(dir, "accounts"), ".json"), []byte("{\"status\": \"valid\", "))
		}, true},
		{"the registration names no account", func(t *testing.T, _ *pebble.Server, dir string) {
			write(t, only(t, filepath.Join(dir, "accounts"), ".json"), []byte(`{"status":"valid"}`))
		}, true},
		{"the registration names an account of nobody", func(t *testing.T, _ *pebble.Server, dir string) {
			file := only(t, filepath.Join(dir, "accounts"), ".json")
			write(t, file, bytes.Replace(read(t, file), []byte("/my-account/"), []byte("/my-account/9"), 1))
		}, true},
		{"the registration names no URL", func(t *testing.T, _ *pebble.Server, dir string) {
			write(t, only(t, filepath.Join(dir, "accounts"), ".json"), []byte(`{"status":"valid","location":"x"}`))
		}, true},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			t.Parallel()
			p := startPebble(t, pebble.Options{})
			dir := certified(t, p)
			c.damage(t, p, dir)
			before, _ := os.ReadFile(filepath.Join(dir, "account.key"))
			for _, name := range []string{"dev2.relay.test", "dev3.relay.test"} { // what is stored then is right again
				d := newDevice(t, p, dir, nil)
				d.manage(t, name)
				d.wait(t, name)
				if ev := d.event(t, acme.Obtained); ev.Name != name {
					t.Errorf("obtained %q", ev.Name)
				}
				d.Close()
			}
			after := read(t, filepath.Join(dir, "account.key"))
			if got := bytes.Equal(before, after); got != c.sameKey {
				t.Errorf("the key is the same: %v", got)
			}
		})
	}
}

// A CA that was set up anew with the same URL knows neither the account nor the
// old directory; the key of the account stays.
func TestNewCAAtTheSameURL(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	key := read(t, filepath.Join(dir, "account.key"))
	if err := p.StartAnew(); err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, p, dir, nil)
	d.manage(t, "dev2.relay.test")
	d.wait(t, "dev2.relay.test")
	if !bytes.Equal(key, read(t, filepath.Join(dir, "account.key"))) {
		t.Error("the account's key has changed")
	}
}

// A refusal that is not for the account makes no second order.
func TestConfirmedAccountOrdersOnce(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	orders, accounts := len(p.Orders()), p.Accounts()
	p.Refuse(&pebble.Refusal{Status: 403, Type: "unauthorized", Detail: "not for you"})
	d := newDevice(t, p, dir, nil)
	d.manage(t, "dev2.relay.test")
	if ev := d.event(t, acme.Failed); !strings.Contains(ev.Err.Error(), "not for you") {
		t.Error(ev.Err)
	}
	if o, a := len(p.Orders())-orders, p.Accounts()-accounts; o != 1 || a != 1 {
		t.Errorf("%d orders, %d requests for the account", o, a)
	}
}

// A CA whose directory names other URLs than it did is asked for its directory
// again.
func TestMovedDirectoryIsAskedForAgain(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	p.Move()
	d := newDevice(t, p, dir, func(c *acme.Config) { c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil)) })
	d.manage(t, "dev2.relay.test")
	d.wait(t, "dev2.relay.test")
}

// ed25519PEM makes a key file with an Ed25519 key.
func ed25519PEM(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forgetKey takes out of the registration in dir which key it is for, as it
// was before that was noted.
func forgetKey(t *testing.T, dir string) {
	t.Helper()
	file := only(t, filepath.Join(dir, "accounts"), ".json")
	var reg map[string]any
	if err := json.Unmarshal(read(t, file), &reg); err != nil {
		t.Fatal(err)
	}
	delete(reg, "key")
	b, err := json.Marshal(reg)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, b)
}
