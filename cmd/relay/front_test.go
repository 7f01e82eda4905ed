package main

import "testing"

// A name of the operator's own is one that stands in static, or is below one with a star.
func TestStaticCoversNames(t *testing.T) {
	static := []string{"mail.relay.test", "*.apps.relay.test"}
	for name, want := range map[string]bool{
		"mail.relay.test": true, "x.apps.relay.test": true, "y.x.apps.relay.test": true,
		"apps.relay.test": false, "x.mail.relay.test": false, "xapps.relay.test": false,
	} {
		if covers(static, name) != want {
			t.Errorf("%s is covered: %v", name, !want)
		}
	}
}
