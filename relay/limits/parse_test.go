package limits_test

import (
	"strings"
	"testing"

	"keystay/relay/limits"
)

// A token's limits are read as those of the configuration are; what is wrong is
// named.
func TestParseOwner(t *testing.T) {
	got, err := limits.ParseOwner(map[string]string{"names": "5", "streams": "off", "connection_rate": "20/s", "bandwidth": "10MiB/s", "bytes_per_month": "500GiB"})
	if want := (limits.Owner{Names: 5, Streams: -1, ConnsPerSecond: 20, Bandwidth: 10 << 20, BytesPerMonth: 500 << 30}); got != want || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	for key, value := range map[string]string{"names": "0", "streams": "many", "connection_rate": "20/min", "bandwidth": "10MiB", "bytes_per_month": "", "width": "1"} {
		got, err := limits.ParseOwner(map[string]string{key: value})
		if err == nil || !strings.Contains(err.Error(), key) || got != (limits.Owner{}) {
			t.Errorf("%s: %q is %+v, %v", key, value, got, err)
		}
	}
	if got, err := limits.ParseOwner(nil); got != (limits.Owner{}) || err != nil {
		t.Errorf("nothing is %+v, %v", got, err)
	}
}
