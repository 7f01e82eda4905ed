package limits

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"keystay/internal/amount"
)

// MinBandwidth is the least that Owner.Bandwidth may be set to, in bytes a second.
const MinBandwidth = 16 << 10

// ParseOwner reads what a token says that its names may have: the keys are those
// below limits.name in a relay's configuration, and names, which is below
// limits.identity; the values are written as there. An error names the key.
func ParseOwner(from map[string]string) (o Owner, err error) {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		value := from[key]
		switch key {
		case "names":
			o.Names, err = amount.Count(value)
		case "streams":
			o.Streams, err = amount.Count(value)
		case "connection_rate":
			o.ConnsPerSecond, err = perSecond(value)
		case "bandwidth":
			o.Bandwidth, err = amount.Bandwidth(value, MinBandwidth)
		case "bytes_per_month":
			o.BytesPerMonth, err = amount.Bytes(value, 1)
		default:
			return Owner{}, fmt.Errorf("%q is no limit of a name: there are %s", key, strings.Join(ownerKeys(), ", "))
		}
		if err != nil {
			return Owner{}, fmt.Errorf("%s: %q %w", key, value, err)
		}
	}
	return o, nil
}

// ownerKeys returns the keys that ParseOwner knows.
func ownerKeys() []string {
	return []string{"bandwidth", "bytes_per_month", "connection_rate", "names", "streams"}
}

// perSecond reads a rate by the second.
func perSecond(s string) (int, error) {
	n, per, err := amount.Rate(s)
	if err == nil && per != time.Second {
		err = fmt.Errorf("is not by the second, as in 100/s")
	}
	return n, err
}
