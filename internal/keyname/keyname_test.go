package keyname_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"keystay/internal/keyname"
)

func TestLabelIsMadeFromTheKey(t *testing.T) {
	// The expected value was computed with other tools:
	// printf 'keystay-name-v1\0' | cat - zeros | sha256sum | xxd -r -p | head -c 20 | base32
	key := ed25519.PublicKey(make([]byte, 32))
	const want = "r7spndyrnljiqxaxgrpjxslmubxpnwpl"
	if got := keyname.Label(key, ""); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if keyname.Label(key, "blog") == want {
		t.Error("the word makes no difference")
	}
	other := ed25519.PublicKey(bytes.Repeat([]byte{1}, 32))
	if keyname.Label(other, "") == want {
		t.Error("the key makes no difference")
	}
}

func TestIsTellsLabelsFromWords(t *testing.T) {
	label := keyname.Label(make([]byte, 32), "")
	for s, want := range map[string]bool{
		label:                        true,
		strings.ToUpper(label):       false,
		label[1:]:                    false,
		label + "a":                  false,
		"1" + label[1:]:              false,
		strings.Repeat("-", 32):      false,
		strings.Repeat("a", 32):      true,
		"":                           false,
		"the-name-of-some-device-00": false,
	} {
		if keyname.Is(s) != want {
			t.Errorf("Is(%q) = %v", s, !want)
		}
	}
}
