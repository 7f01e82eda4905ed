package cli_test

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/testca"
)

// Roots are taken as PEM in whatever way it was written, and as DER.
func TestRootsOfOtherTools(t *testing.T) {
	ca := testca.New(t)
	text := string(ca.PEM())
	block, _ := pem.Decode(ca.PEM())
	file := filepath.Join(t.TempDir(), "roots")
	for _, b := range []string{text, "\ufeff" + text, strings.ReplaceAll(text, "\n", "\r\n"), "our CA:\n" + text, string(block.Bytes)} {
		if err := os.WriteFile(file, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if pool, err := cli.Roots("--acme-root", file); err != nil || !pool.Equal(ca.Pool()) {
			t.Errorf("%.40q: %v", b, err)
		}
	}
	if pool, err := cli.Roots("--acme-root", ""); pool != nil || err != nil {
		t.Errorf("no file: %v, %v", pool, err)
	}
	if err := os.WriteFile(file, []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Roots("--acme-root", file); err == nil || err.Error() != "--acme-root: "+file+" holds no certificate" || len(hint.All(err)) != 1 {
		t.Errorf("noise: %v", err)
	}
	if _, err := cli.Roots("--acme-root", file+"x"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "--acme-root: open ") || !slices.Equal(hint.All(err), []string{"check the path " + file + "x"}) {
		t.Errorf("no such file: %v", err)
	}
}
