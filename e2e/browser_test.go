package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/e2e/internal/browser"
	"keystay/e2e/internal/world"
)

// screenshotsVariable names a folder that gets the pictures; they are thrown
// away without it.
const screenshotsVariable = "KEYSTAY_SCREENSHOTS"

// browse is the command
//
//	browse chromium|firefox
//
// It serves the page of package browser at $SITE, opens it at $URL with the
// root trusted, and fails unless all that the page tries in the browser goes
// well.
func browse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: browse chromium|firefox")
	}
	b, err := browser.Find(browser.Kind(args[0]))
	ts.Check(err)
	w := settingOf(ts)
	b.CA = w.ca.IssuerPEM()
	b.Hosts = []string{storied}

	var page browser.Site
	ln, err := net.Listen("tcp", w.site.addr)
	ts.Check(err)
	srv := &http.Server{Handler: &page, ReadHeaderTimeout: world.Patience}
	go srv.Serve(ln)
	defer srv.Close()

	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		dir = ts.MkAbs(".")
	}
	ctx, cancel := timeout(world.Patience)
	defer cancel()
	ts.Check(b.Screenshot(ctx, ts.Getenv("URL")+"/", filepath.Join(dir, args[0]+".png")))
	select {
	case report := <-page.Reports():
		ts.Check(report.Err())
		fmt.Fprintln(ts.Stdout(), "page over", report.Protocol)
		for _, c := range report.Checks {
			fmt.Fprintf(ts.Stdout(), "%s: %s (%v ms)\n", c.Name, c.Detail, c.MS)
		}
	default:
		ts.Fatalf("the page did not run")
	}
}

// mayBrowse is the condition [browses:KIND]: false only where the browser is
// missing and KEYSTAY_SKIP_BROWSERS is set.
func mayBrowse(kind string) bool {
	_, err := browser.Find(browser.Kind(kind))
	return err == nil || os.Getenv("KEYSTAY_SKIP_BROWSERS") == ""
}
