package acme

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"keystay/internal/testca"
)

// A key with a passphrase is called that, in both forms.
func TestKeyWithPassphraseIsNamed(t *testing.T) {
	cert, _ := testca.New(t).Files(t.TempDir(), "a.test")
	for _, block := range []*pem.Block{
		{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")},
		{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")},
	} {
		key := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(key, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadFiles(cert, key, "")
		var wrong *FileError
		if !errors.As(err, &wrong) || wrong.Error() != key+": the key has a passphrase" || len(wrong.Hints()) != 1 {
			t.Errorf("%s: %v", block.Type, err)
		}
	}
}
