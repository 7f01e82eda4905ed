// Package htmx has the script that the pages of both programs load to exchange parts of
// themselves: htmx, as its authors have published it. README.md says which one, and
// LICENSE on which terms.
package htmx

import _ "embed"

// Name is the script's file.
const Name = "htmx.min.js"

//go:embed htmx.min.js
var script string

// Script returns the script.
func Script() string { return script }
