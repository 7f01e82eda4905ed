package sni_test

import (
	"bytes"
	"testing"
	"testing/iotest"

	"keystay/sni"
)

const goldenName = "visitor.relay.test"

// goldenHellos says what each file of testdata asks for.
var goldenHellos = []struct {
	file, name, alpn string
	records          int
}{
	{"chromium.bin", goldenName, "h2", 1},
	{"curl.bin", goldenName, "h2", 1},
	{"gnutls.bin", goldenName, "h2", 1},
	{"go.bin", goldenName, "http/1.1", 1},
	{"java.bin", goldenName, "h2", 1},
	{"node.bin", goldenName, "", 1},
	{"openssl.bin", goldenName, "", 1},
	{"openssl-noname.bin", "", "", 1},
	{"openssl-records.bin", goldenName, "proto-109", 3},
	{"openssl-tls12.bin", goldenName, "", 1},
	{"python.bin", goldenName, "", 1},
}

func TestGoldenHellosAreRead(t *testing.T) {
	hellos := golden(t)
	if len(hellos) != len(goldenHellos) {
		t.Errorf("%d files in testdata, %d in the table", len(hellos), len(goldenHellos))
	}
	for _, c := range goldenHellos {
		t.Run(c.file, func(t *testing.T) {
			b := hellos[c.file]
			if n := len(recordsOf(b)); n != c.records {
				t.Errorf("%d records, want %d", n, c.records)
			}
			for _, one := range []bool{false, true} {
				w := &wire{r: bytes.NewReader(b)}
				if one {
					w.r = iotest.OneByteReader(w.r)
				}
				h, err := sni.Read(w, nil)
				if err != nil {
					t.Fatal(err)
				}
				if string(h.ServerName) != c.name {
					t.Errorf("name %q, want %q", h.ServerName, c.name)
				}
				if c.name == "" && h.ServerName != nil {
					t.Error("a name that was not sent is not nil")
				}
				if c.alpn != "" && !h.OffersALPN(c.alpn) {
					t.Errorf("does not offer %s", c.alpn)
				}
				if h.OffersALPN("acme-tls/1") || h.OffersALPN("") {
					t.Error("offers what was not sent")
				}
				if !bytes.Equal(h.Raw, b) {
					t.Error("Raw is not what was sent")
				}
			}
		})
	}
}

// recordsOf cuts b into records; what is no whole record is left out.
func recordsOf(b []byte) (recs [][]byte) {
	for len(b) >= 5 {
		n := 5 + int(b[3])<<8 + int(b[4])
		if n > len(b) {
			break
		}
		recs = append(recs, b[:n])
		b = b[n:]
	}
	return recs
}
