package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keystay/e2e/internal/browser"
	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/remote"
)

// pageTools gets playwright-core and axe-core, at the versions of page/package-lock.json
// with its sums, once for all tests. Where the registry cannot be reached that is not the
// page's fault: the tests are skipped.
var pageTools = sync.OnceValue(func() error {
	ctx, cancel := timeout(2 * world.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
	cmd.Dir = "page"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

// The operator's page, and the relay's own, work in both browsers: on a wide screen and
// on a phone, light and dark, with the keyboard alone. axe-core finds nothing, and the
// pages ask nobody else. With KEYSTAY_SOAK each browser does all of it; with
// KEYSTAY_SCREENSHOTS what it showed is kept.
func TestOperatorPageInBrowsers(t *testing.T) {
	checkPage(t, "check.mjs", "operator", startOperatorPage)
}

// checkPage has both browsers look at a page at the same time, each by a run of a script of
// the folder page. Start starts what serves it, and returns what the script has to know of
// it. Pictures are kept below the folder of that name.
func checkPage(t *testing.T, script, pictures string, start func(*testing.T) map[string]any) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			program := findBrowser(t, kind)
			if err := pageTools(); err != nil {
				t.Skipf("NOT CHECKED: %v", err)
			}
			task := start(t)
			task["browser"], task["program"] = string(kind), program
			task["all"] = os.Getenv("KEYSTAY_SOAK") != ""
			if dir := os.Getenv(screenshotsVariable); dir != "" {
				task["pictures"] = filepath.Join(dir, pictures)
			}
			text, err := json.Marshal(task)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), browser.DefaultTimeout)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", script, string(text))
			cmd.Dir = "page"
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", errors.Join(err, ctx.Err()), out)
			}
		})
	}
}

// findBrowser returns the path of a browser, and node beside it.
func findBrowser(t *testing.T, kind browser.Kind) (program string) {
	t.Helper()
	_, err := browser.Find(kind)
	if err == nil {
		_, err = exec.LookPath("npm")
	}
	for _, name := range map[browser.Kind][]string{browser.Chromium: {"chromium", "chromium-browser", "google-chrome"}, browser.Firefox: {"firefox-esr", "firefox"}}[kind] {
		if program == "" {
			program, _ = exec.LookPath(name)
		}
	}
	switch {
	case err == nil:
	case os.Getenv("KEYSTAY_SKIP_BROWSERS") != "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
	return program
}

// startOperatorPage starts the relay's program with a page on which ada may sign in, and
// three devices.
func startOperatorPage(t *testing.T) map[string]any {
	t.Helper()
	ca, dir := testca.New(t), t.TempDir()
	cert, key := ca.Files(t.TempDir(), outZone)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("users", "ada:$2a$10$yEaF3A3UFYVdrkryu01TsOHac7/FGRqymxPKK8lOec5EH9RqeNyKO\n") // wind
	write("words.txt", "Run by a few people, for a few people.\n\n- Be kind: https://rules.example/\n- <b>No</b> mirrors\n")
	write("relay.yaml", fmt.Sprintf(`domain: %s
listen: ["127.0.0.1:0"]
http_listen: []
state_dir: state
tls: {cert_file: %q, key_file: %q}
admin: {listen: "127.0.0.1:0", password_file: users}
site: {words_file: words.txt}
abuse: abuse@relay.test
`, outZone, cert, key))
	relay := world.Start(t, nil, "relay", "--config", filepath.Join(dir, "relay.yaml"))
	public := relay.Find(`for=public addr=(\S+)`)
	admin := relay.Find(`for=admin addr=(\S+)`)
	for i := range 3 {
		name := fmt.Sprintf("app%d.%s", i+1, outZone)
		tlsConfig := &tls.Config{Certificates: []tls.Certificate{ca.Issue(name)}}
		ln, err := remote.Listen(remote.Config{Domain: name, Relays: []string{outZone}, RelayAddresses: []string{public}, RelayRoots: ca.Pool(), TLS: tlsConfig, StateDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
		t.Cleanup(func() {
			world.StopNow(ln)
			wg.Wait()
		})
		ctx, cancel := timeout(world.Patience)
		err = ln.Wait(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(public)
	return map[string]any{"page": "http://" + strings.TrimSpace(admin), "site": "https://" + net.JoinHostPort(outZone, port) + "/",
		"user": "ada", "password": "wind", "device": "app3", "domain": outZone}
}
