package relay

import (
	"testing"

	"keystay/relay/names"
)

// A remote is told each reason that package names has for a denial.
func TestEachCodeOfADenialIsOneOfTheProtocol(t *testing.T) {
	for code := names.DeniedInvalid; code <= names.DeniedUnproven; code++ {
		if d := denial(&names.Denied{Code: code}); d.Code == 0 {
			t.Errorf("code %d has none in the protocol", code)
		}
	}
}
