package main

import (
	"bytes"
	"strings"
	"testing"
)

// Nothing is claimed of a certificate that was brought along.
func TestScreen(t *testing.T) {
	for _, brought := range []bool{false, true} {
		var b bytes.Buffer
		screen(&b, "https://xyz.relay.net", "http://127.0.0.1:3000", brought)
		if got := strings.Contains(b.String(), "public from now on"); got == brought {
			t.Errorf("brought %v:\n%s", brought, b.String())
		}
	}
}
