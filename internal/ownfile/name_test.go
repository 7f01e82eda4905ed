package ownfile_test

import (
	"strings"
	"testing"

	"keystay/internal/ownfile"
)

func TestNameFitsAndKeepsWhatFits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct {
		name, end string
		stays     bool
	}{
		{"", "", true},
		{"xyz.relay.test.lock", ".lock", true},
		{long(250) + ".lock", ".lock", true},
		{long(251) + ".lock", ".lock", false},
		{long(253) + ".json", ".json", false},
		{long(256), "", false},
		{"a." + long(300), "", false}, // no room for the extension
	} {
		got := ownfile.Name(c.name)
		if len(got) > ownfile.MaxName || (got == c.name) != c.stays || !strings.HasSuffix(got, c.end) {
			t.Errorf("%d bytes: %q", len(c.name), got)
		}
	}
	if ownfile.Name(long(300)) == ownfile.Name(long(301)) {
		t.Error("two names became the same")
	}
	// What was written once is found by later versions.
	if got, want := ownfile.Name(long(251)+".lock"), "0de18fb35d1ffe5a546afff8b16c22a89f73b261380f524c5447b9e12d2b2eab.lock"; got != want {
		t.Errorf("the name is %s, want %s", got, want)
	}
}
