package acme

import (
	"fmt"
	"strings"
)

// maxName is the longest host name in bytes (RFC 1035 section 2.3.4).
const maxName = 253

// normalize returns name in lower case and without its final dot. Only a plain
// host name passes: the name becomes part of a path.
func normalize(name string) (string, error) {
	n := strings.ToLower(strings.TrimSuffix(name, "."))
	ok := len(n) <= maxName && strings.Contains(n, ".")
	for label := range strings.SplitSeq(n, ".") {
		ok = ok && label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	}
	if last := n[strings.LastIndexByte(n, '.')+1:]; ok && strings.Trim(last, "0123456789") == "" {
		ok = false // an IPv4 address
	}
	if !ok {
		return "", fmt.Errorf("acme: not a host name: %q", name)
	}
	return n, nil
}
