package verify

import (
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
)

// sctList is the extension of a certificate that holds signed certificate timestamps
// (RFC 6962, section 3.3).
var sctList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// countSCTs returns how many signed certificate timestamps are in a certificate: 0 where
// their list is not well formed.
func countSCTs(cert *x509.Certificate) (n int) {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(sctList) {
			continue
		}
		var octets []byte
		if rest, err := asn1.Unmarshal(e.Value, &octets); err != nil || len(rest) > 0 {
			return 0
		}
		all := cryptobyte.String(octets)
		var list cryptobyte.String
		if !all.ReadUint16LengthPrefixed(&list) || !all.Empty() {
			return 0
		}
		for !list.Empty() {
			var sct cryptobyte.String
			if !list.ReadUint16LengthPrefixed(&sct) || sct.Empty() {
				return 0
			}
			n++
		}
	}
	return n
}
