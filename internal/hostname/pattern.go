package hostname

import (
	"fmt"
	"strings"
)

// Pattern brings a pattern of names below zone into its one form, without the zone,
// or says why it is none. A pattern without a dot is for the label directly below
// the zone, as in www or mail*. One with dots is a whole name below the zone. A star
// stands for any characters of one label.
func Pattern(pattern, zone string) (string, error) {
	p := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(pattern), "."))
	if name, err := Typed(p); err == nil { // with A-labels
		p = name
	}
	label, _ := strings.CutSuffix(p, "."+zone)
	if label == p && strings.Contains(p, ".") {
		return "", fmt.Errorf("%q is not below %s", pattern, zone)
	}
	if _, err := Normalize([]byte(strings.ReplaceAll(label, "*", "x"))); err != nil || strings.HasSuffix(label, ".") {
		return "", fmt.Errorf("%q is no pattern of names", pattern)
	}
	return label, nil
}
