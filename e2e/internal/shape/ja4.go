package shape

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// JA4 returns the client fingerprint of that name, as FoxIO defines it for TLS over
// TCP, version 1.0: what a relay would write down of a hello that it wants to tell
// apart. It looks neither at the order of extensions nor at key shares.
func (s Shape) JA4() string {
	versions := map[uint16]string{0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}
	version, ok := versions[s.version]
	if !ok {
		version = "00"
	}
	named := "i"
	if s.named {
		named = "d"
	}
	alpn := "00"
	if p := s.protocol; p != "" {
		alpn = p[:1] + p[len(p)-1:]
	}
	exts := withoutGREASE(s.Order)
	count := func(list []uint16) int { return min(len(list), 99) }
	a := fmt.Sprintf("t%s%s%02d%02d%s", version, named, count(s.suites), count(exts), alpn)
	suites := slices.Sorted(slices.Values(s.suites))
	exts = slices.DeleteFunc(exts, func(e uint16) bool { return e == extServerName || e == extALPN })
	slices.Sort(exts)
	c := hex(exts)
	if len(s.signatures) > 0 {
		c += "_" + hex(s.signatures)
	}
	return a + "_" + digest(hex(suites)) + "_" + digest(c)
}

func hex(list []uint16) string {
	var each []string
	for _, n := range list {
		each = append(each, fmt.Sprintf("%04x", n))
	}
	return strings.Join(each, ",")
}

// digest returns the first twelve digits of a text's SHA-256; zeros for none.
func digest(text string) string {
	if text == "" {
		return strings.Repeat("0", 12)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12]
}

// LooksLikeBrowser says whether a hello is one of a browser to somebody who looks at
// few things, so that no release of a browser is missed: TLS 1.3, HTTP/2 first, and
// the sign of an encrypted hello, which of all clients only browsers send.
func (s Shape) LooksLikeBrowser() bool {
	return s.version == 0x0304 && s.protocol == "h2" && slices.Contains(s.Order, extEncryptedHello)
}
