package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// MaxSecret is the longest secret that is taken, in bytes.
const MaxSecret = 1024

// A Secret is text that must not be printed. Formatting, logging and encoding
// it gives "[redacted]" (an empty one stays empty); string(s) is the one way to
// its value.
type Secret string

// String returns "[redacted]", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// Format prints what String returns, whatever the verb, so that not even a
// wrong verb shows the value.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is what log/slog shows.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what encoders such as encoding/json write.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// readSecret reads a file that holds one line, the secret. It also reports
// whether every user of the machine may read that file. That is a warning and
// no error: container platforms mount secrets world-readable inside the one
// container that sees them.
func readSecret(name string) (s Secret, public bool, err error) {
	// Twice the length leaves room for line ends and still shows a longer one.
	data, info, err := ownfile.Load(name, 2*MaxSecret)
	if err != nil {
		return "", false, err
	}
	public = ownfile.IsOpen(info)
	data = bytes.TrimSpace(ownfile.Text(data))
	if len(data) == 0 {
		return "", false, errors.New("the file is empty")
	}
	if err := checkSecret(string(data)); err != nil {
		return "", false, err
	}
	return Secret(data), public, nil
}

// secretFile reads the secret in the named file, if there is a name, into s.
func (e *Errors) secretFile(key, name string, s *Secret) []Warning {
	if name == "" {
		return nil
	}
	secret, public, err := readSecret(name)
	if err != nil {
		hints := unreadable(name, err)
		if hints == nil {
			hints = hint.OneSecret.With()
		}
		e.add(key, fmt.Sprintf("cannot read %s: %v", quote(name), reason(err)), hints...)
		return nil
	}
	*s = secret
	if !public {
		return nil
	}
	return []Warning{{
		Key:     key,
		Message: fmt.Sprintf("every user of this machine can read or write %s", name),
		Hints:   hint.FileOpen.With("FILE", name),
	}}
}

// tokenSecrets reads the secret of each token, whose SecretFile is ready to
// open, and checks it.
func (r *relayReader) tokenSecrets() {
	tokens := r.relay.Tokens
	first := map[Secret]int{} // where each secret is first
	for i := range tokens {
		key := fmt.Sprintf("tokens[%d].secret_file", i)
		r.warnings = append(r.warnings, r.errs.secretFile(key, tokens[i].SecretFile, &tokens[i].Secret)...)
		r.tokenLength(key, tokens[i])
		secret := tokens[i].Secret
		if j, ok := first[secret]; ok && secret != "" {
			r.errs.add(key, fmt.Sprintf("the same secret as tokens[%d] has", j), "list all the names in one of them")
		} else {
			first[secret] = i
		}
	}
}

var errEmptySecret = errors.New("there is no secret")

// checkSecret refuses what cannot be a secret that a person passes on: control
// characters, above all a second line.
func checkSecret(s string) error {
	if len(s) > MaxSecret {
		return fmt.Errorf("a secret has at most %d bytes", MaxSecret)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return errors.New("a secret is one line of text")
		}
	}
	return nil
}
