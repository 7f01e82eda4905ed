package ct

import (
	"testing"
	"time"
)

// What raises an alarm is neither expired nor from before the device noted its keys, nor,
// of a name whose certificates are brought along, so new that its file may be to come.
func TestWhatIsAlarming(t *testing.T) {
	now := time.Now()
	year := now.AddDate(1, 0, 0)
	s := State{Foreign: []Foreign{
		{Key: "old", NotAfter: year, Found: now.Add(-2 * grace), Old: true},
		{Key: "expired", NotAfter: now.Add(-time.Hour), Found: now.Add(-2 * grace)},
		{Key: "new", NotAfter: year, Found: now},
		{Key: "lasting", NotAfter: year, Found: now.Add(-2 * grace)},
	}}
	for brought, want := range map[bool]string{false: "new lasting ", true: "lasting "} {
		got := ""
		for _, f := range s.Alarming(brought) {
			got += f.Key + " "
		}
		if got != want {
			t.Errorf("brought along %v: %q, want %q", brought, got, want)
		}
	}
}
