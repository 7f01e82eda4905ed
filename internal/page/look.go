package page

import (
	"crypto/sha256"
	"encoding/base64"
)

// Style is the look that all pages for visitors have. A page with more to show puts
// rules of its own behind it.
const Style = style

// Policy returns the Content-Security-Policy of a page with one style element, of
// which this is all: the browser loads nothing and runs nothing, no form leads
// anywhere, and no other site shows the page in a frame.
func Policy(style string) string { return FormPolicy(style) + "; form-action 'none'" }

// FormPolicy is Policy for a page with a form. It does not say where that leads: a
// browser would hold it against every redirect behind the form, too.
func FormPolicy(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; frame-ancestors 'self'"
}
