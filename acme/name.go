package acme

import (
	"fmt"
	"strings"

	"keystay/internal/hostname"
)

// normalize returns the normal form of a name that a public CA could issue
// for: the name becomes part of a path.
func normalize(name string) (string, error) {
	n, err := hostname.Normalize([]byte(name))
	if err == nil && !strings.Contains(n, ".") {
		err = fmt.Errorf("%w: it has no dot", hostname.ErrInvalid)
	}
	if err != nil {
		return "", fmt.Errorf("acme: %q: %w", name, err)
	}
	return n, nil
}
