package browser

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rootsLimit bounds how many certificates Browser.CA may hold: each costs a
// run of certutil.
const rootsLimit = 16

// trust makes a new NSS database in dir that trusts the roots in b.CA to
// identify web servers, and nothing else.
func (b Browser) trust(ctx context.Context, home, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("trust root: %w", err)
	}
	db := "sql:" + dir
	if err := runGroup(ctx, home, b.certutil, "-d", db, "-N", "--empty-password"); err != nil {
		return fmt.Errorf("make trust database: %w", err)
	}
	n := 0
	for block, rest := pem.Decode(b.CA); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if n++; n > rootsLimit {
			return fmt.Errorf("trust root: more than %d roots", rootsLimit)
		}
		name := fmt.Sprintf("test root %d", n)
		file := filepath.Join(home, "root.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("trust root: %w", err)
		}
		// C: a trusted CA; the three fields are web servers, mail, code.
		err := runGroup(ctx, home, b.certutil, "-d", db, "-A", "-n", name, "-t", "C,,", "-i", file)
		if err != nil {
			return fmt.Errorf("trust root: %w", err)
		}
	}
	if len(b.CA) > 0 && n == 0 {
		return errors.New("trust root: no certificate in CA")
	}
	return nil
}
