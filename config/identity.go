package config

import (
	"slices"

	"github.com/spf13/pflag"
)

// An Identity is the configuration of "remote identity".
type Identity struct {
	StateDir string
	// Passphrase is that of an export, or empty where neither a file nor the
	// variable has one.
	Passphrase Secret
}

// passphraseKeys are those of the passphrase of an export. It is no flag, since other
// users can see flags.
func passphraseKeys() []Key {
	return withEnv(remotePrefix, []Key{
		{Name: "passphrase", Secret: true},
		{Name: "passphrase_file", Flag: "passphrase-file", Help: "the `FILE` that holds the passphrase, one line; else it is asked for on the terminal"},
	})
}

// IdentityFlags adds the flags of "remote identity show" and "rotate", and with
// passphrase those of "export" and "import".
func IdentityFlags(fs *pflag.FlagSet, passphrase bool) { register(fs, identityKeys(passphrase)) }

func identityKeys(passphrase bool) []Key {
	keys := someKeys([]string{"state_dir"})
	if passphrase {
		keys = slices.Concat(keys, passphraseKeys())
	}
	return keys
}

// LoadIdentity reads what the flags of [IdentityFlags] and their variables say. A
// configuration that is wrong gives [Errors].
func LoadIdentity(fs *pflag.FlagSet, passphrase bool) (*Identity, []Warning, error) {
	src, err := newSource(identityKeys(passphrase), fs, nil)
	if err != nil {
		return nil, nil, err
	}
	var wrong Errors
	r := &Identity{StateDir: src.text("state_dir")}
	src.resolve("state_dir", &r.StateDir)
	wrong.stateDir(&r.StateDir)
	var warnings []Warning
	if passphrase {
		file := src.text("passphrase_file")
		src.resolve("passphrase_file", &file)
		r.Passphrase = Secret(src.text("passphrase"))
		if file != "" {
			r.Passphrase = ""
			warnings = wrong.secretFile("passphrase_file", file, &r.Passphrase)
		}
	}
	return r, warnings, finish(src, repeated(fs, src.keys), wrong, "")
}
