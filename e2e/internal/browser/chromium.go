package browser

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
)

// chromium fills home and returns the arguments for Chromium.
func (b Browser) chromium(ctx context.Context, home, page, file string) ([]string, error) {
	// Besides its own roots, Chromium on Linux trusts those of the user's
	// NSS database.
	if err := b.trust(ctx, home, filepath.Join(home, ".pki", "nssdb")); err != nil {
		return nil, err
	}
	var rules []string
	for _, host := range b.Hosts {
		rules = append(rules, "MAP "+host+" 127.0.0.1")
	}
	rules = append(rules, "MAP * ~NOTFOUND")
	args := []string{
		"--headless",
		// Its sandbox works neither for root nor in most containers; what it
		// opens here is our own page.
		"--no-sandbox",
		"--disable-gpu",
		"--disable-dev-shm-usage",
		"--disable-quic",
		"--no-first-run",
		"--no-default-browser-check",
		"--disable-background-networking",
		"--disable-component-update",
		"--disable-default-apps",
		"--disable-extensions",
		"--disable-breakpad",
		"--disable-sync",
		"--no-proxy-server",
		"--host-resolver-rules=" + strings.Join(rules, ", "),
		"--user-data-dir=" + filepath.Join(home, "profile"),
		"--window-size=" + b.size(),
		"--hide-scrollbars",
	}
	if b.Resolve {
		args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, "--host-resolver-rules=") })
	}
	if b.Dark {
		args = append(args, "--blink-settings=preferredColorScheme=0")
	}
	if file != "" {
		args = append(args, "--screenshot="+file)
	}
	return append(args, page), nil
}
