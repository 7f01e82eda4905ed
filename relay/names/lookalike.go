package names

import (
	"strings"
	"sync"

	"go.mau.fi/util/confusable"
	"golang.org/x/net/idna"
)

// lookAlike returns the reserved label, or the relay's own name, that a label looks
// like to a person. It returns nothing for a label that looks like none of them. Two texts look alike when their skeletons are the
// same (UTS #39, section 4); the hyphens do not count.
func lookAlike(label, zone string) string {
	if strings.HasPrefix(label, "xn--") {
		if u, err := idna.Punycode.ToUnicode(label); err == nil {
			label = u
		}
	}
	s := skeleton(label)
	own, _, _ := strings.Cut(zone, ".")
	for _, o := range []string{own, zone, strings.ReplaceAll(zone, ".", "")} {
		if skeleton(o) == s {
			return o
		}
	}
	return reservedSkeletons()[s]
}

// skeleton is what of a label is left for the eye.
func skeleton(s string) string {
	s = strings.NewReplacer("-", "", ".", "").Replace(strings.ToLower(s))
	return strings.ToLower(confusable.Skeleton(s))
}

// reservedSkeletons returns the labels of the built-in list by their skeletons.
var reservedSkeletons = sync.OnceValue(func() map[string]string {
	all := make(map[string]string, len(reservedLabels))
	for _, l := range reservedLabels {
		if s := skeleton(l); all[s] == "" {
			all[s] = l
		}
	}
	return all
})
