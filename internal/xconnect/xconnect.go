// Package xconnect lets a program's HTTP/2 servers take extended CONNECT (RFC
// 8441), by which browsers open WebSockets over HTTP/2. To import it is all.
//
// Packages net/http and golang.org/x/net/http2, which needs it, take it only where the
// environment says so, and look there once, as they are initialized:
// GODEBUG=http2xconnect=1. It is no setting that a
// //go:debug line may have. Packages are initialized in the order of their import
// paths, as far as they do not need each other (The Go Programming Language
// Specification, Program initialization), and this one needs little and is in front
// of net/http.
//
// A server that takes extended CONNECT must be ready for it in all of its handlers,
// so programs import this package, and libraries do not.
package xconnect

import (
	"os"
	"strings"
)

var _ = set()

// set changes the environment, but where it says something of http2xconnect already.
func set() bool {
	const name, setting = "GODEBUG", "http2xconnect"
	old := os.Getenv(name)
	if strings.Contains(old, setting) {
		return false
	}
	if old != "" {
		old += ","
	}
	return os.Setenv(name, old+setting+"=1") == nil
}
