package remote

import (
	"testing"
	"testing/synctest"
	"time"
)

// A relay that speaks another version each time is believed a few times, and then now and then:
// with each change, the device may leave its links for others with another key.
func TestVersionOfARelayChangesNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keys
		changes, older := 0, false
		for i := range 3600 {
			k.learn("relay.test", handoverMinor-uint8(i%2))
			if now := k.versions["relay.test"].older; now != older {
				older = now
				changes++
			}
			time.Sleep(time.Second)
		}
		if changes < 4 || changes > 10 {
			t.Errorf("%d changes in an hour", changes)
		}
		// What is known of one relay says nothing of another.
		for _, minor := range []uint8{handoverMinor - 1, handoverMinor} { // as of one that is replaced
			if k.learn("other.test", minor); k.versions["other.test"].older != (minor < handoverMinor) {
				t.Errorf("minor version %d is not believed", minor)
			}
		}
	})
}
