package sni_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"keystay/sni"
)

func TestParseTellsWholeFromBroken(t *testing.T) {
	const name = "a.test"
	hello := message(serverName(name))
	warning := record(21, []byte{1, 112})
	alpn := func(protos ...[]byte) []byte { return ext(16, vec16(protos...)) }
	unknown := func(n int) (exts [][]byte) {
		for i := range n {
			exts = append(exts, ext(0x1000+i))
		}
		return exts
	}
	psk := ext(41, vec16(vec16([]byte("id")), make([]byte, 4)), vec16(vec8([]byte("binder"))))

	for _, c := range []struct {
		what string
		b    []byte
		name string
		err  error
	}{
		{what: "one record", b: split(hello, 1<<14), name: name},
		{what: "records of one byte", b: split(hello, 1), name: name},
		{what: "no extensions at all", b: record(22, handshake(1, cat(make([]byte, 34), vec8(), vec16(), vec8())))},
		{what: "more after the hello", b: cat(split(hello, 1<<14), []byte("GET /")), name: name},
		{what: "more after the hello in its record", b: record(22, hello, hello), name: name},
		{what: "the last record unfinished behind the hello", b: cat([]byte{22, 3, 1}, u16(len(hello)+1), hello), err: sni.ErrIncomplete},
		{what: "a warning before it", b: cat(warning, record(22, hello)), name: name},
		{what: "16 warnings before it", b: cat(bytes.Repeat(warning, 16), record(22, hello)), name: name},
		{what: "17 warnings before it", b: cat(bytes.Repeat(warning, 17), record(22, hello)), err: sni.ErrMalformed},
		{what: "16 warnings between each of its bytes", b: bytes.Join(recordsOf(split(hello, 1)), bytes.Repeat(warning, 16)), name: name},
		{what: "a fatal alert", b: record(21, []byte{2, 90}), err: sni.ErrMalformed},
		{what: "close_notify", b: record(21, []byte{1, 0}), err: sni.ErrMalformed},
		{what: "an alert of three bytes", b: []byte{21, 3, 1, 0, 3}, err: sni.ErrMalformed},

		{what: "nothing", err: sni.ErrIncomplete},
		{what: "HTTP", b: []byte("G"), err: sni.ErrNotTLS},
		{what: "SSLv2", b: []byte{0x80, 0x2e, 1}, err: sni.ErrMalformed},
		{what: "application data", b: []byte{23}, err: sni.ErrNotTLS},
		{what: "record version 15.255", b: []byte{22, 15, 255}, err: sni.ErrIncomplete},
		{what: "record version 16.0", b: []byte{22, 16}, err: sni.ErrNotTLS},
		{what: "application data within", b: cat(split(hello[:9], 9), []byte{23}), err: sni.ErrMalformed},
		{what: "a record of no bytes", b: []byte{22, 3, 1, 0, 0}, err: sni.ErrMalformed},
		{what: "a record of 2^14 bytes", b: []byte{22, 3, 1, 0x40, 0}, err: sni.ErrIncomplete},
		{what: "a record of 2^14+1 bytes", b: []byte{22, 3, 1, 0x40, 1}, err: sni.ErrMalformed},
		{what: "a ServerHello", b: record(22, handshake(2, hello[4:])), err: sni.ErrMalformed},
		{what: "bytes after the extensions", b: record(22, handshake(1, append(slices.Clone(hello[4:]), 0))), err: sni.ErrMalformed},
		{what: "cut short inside", b: record(22, handshake(1, hello[4:20])), err: sni.ErrMalformed},

		{what: "an upper-case name", b: record(22, message(serverName("A.Test"))), name: "A.Test"},
		{what: "a dot behind the name", b: record(22, message(serverName("a.test."))), name: "a.test."},
		{what: "a name of the longest kind", b: split(message(serverName(strings.Repeat("n", 60_000))), 1<<14), name: strings.Repeat("n", 60_000)},
		{what: "a name of another type", b: record(22, message(ext(0, vec16(entry(7, "x"))))), name: ""},
		{what: "a name of another type beside it", b: record(22, message(ext(0, vec16(entry(7, "x"), entry(0, name))))), name: name},
		{what: "an empty name", b: record(22, message(serverName(""))), err: sni.ErrMalformed},
		{what: "no name in the list", b: record(22, message(ext(0, vec16()))), err: sni.ErrMalformed},
		{what: "two names", b: record(22, message(ext(0, vec16(entry(0, name), entry(0, "b.test"))))), err: sni.ErrMalformed},
		{what: "two server_name extensions", b: record(22, message(serverName(name), serverName(name))), err: sni.ErrMalformed},

		{what: "no protocol in the list", b: record(22, message(alpn())), err: sni.ErrMalformed},
		{what: "an empty protocol", b: record(22, message(alpn(vec8([]byte("h2")), vec8()))), err: sni.ErrMalformed},

		{what: "a pre-shared key last", b: record(22, message(serverName(name), psk)), name: name},
		{what: "a pre-shared key before others", b: record(22, message(psk, serverName(name))), err: sni.ErrMalformed},
		{what: "ECH, inner", b: record(22, message(serverName(name), ext(0xfe0d, []byte{1}))), name: name},
		{what: "ECH, outer", b: record(22, message(serverName(name), ext(0xfe0d, make([]byte, 6), vec16(), vec16()))), name: name},
		{what: "ECH of no kind", b: record(22, message(ext(0xfe0d, []byte{2}))), err: sni.ErrMalformed},
		{what: "ECH without a payload", b: record(22, message(ext(0xfe0d, make([]byte, 6), vec16()))), err: sni.ErrMalformed},

		{what: "40 unknown extensions", b: record(22, message(append(unknown(40), serverName(name))...)), name: name},
		{what: "40 unknown extensions and one again", b: record(22, message(append(unknown(40), serverName(name), ext(0x1000+39))...)), err: sni.ErrMalformed},
		{what: "15,000 unknown extensions", b: split(message(append(unknown(15_000), serverName(name))...), 1<<14), name: name},
	} {
		t.Run(c.what, func(t *testing.T) {
			h, err := sni.Parse(c.b)
			if !errors.Is(err, c.err) || string(h.ServerName) != c.name {
				t.Errorf("got %q, %v, want %q, %v", h.ServerName, err, c.name, c.err)
			}
			if !bytes.Equal(h.Raw, c.b) {
				t.Error("Raw is not what was parsed")
			}
			if why := disagreement(c.b, h, err); why != "" {
				t.Error(why)
			}
		})
	}
}

// TestPrefixesAreIncomplete: as long as a hello is not whole, and no longer.
func TestPrefixesAreIncomplete(t *testing.T) {
	for file, b := range golden(t) {
		for n := range b {
			if _, err := sni.Parse(b[:n]); err != sni.ErrIncomplete {
				t.Fatalf("%s: %d of %d bytes: %v", file, n, len(b), err)
			}
		}
	}
}

// padded is a hello that takes up n bytes with records of at most size bytes.
func padded(t *testing.T, n, size int) []byte {
	t.Helper()
	exts := [][]byte{serverName("a.test")}
	for at := 0x2000; ; at++ { // as many small ones as it takes to come near, one that fits
		missing := n - len(split(message(exts...), size))
		if missing < 60_000 {
			for pad := max(0, missing-40); pad <= missing; pad++ {
				if b := split(message(append(exts, ext(at, make([]byte, pad)))...), size); len(b) == n {
					return b
				}
			}
			t.Fatalf("no hello of %d bytes in records of %d", n, size)
		}
		exts = append(exts, ext(at, make([]byte, 10_000)))
	}
}

// overhanging is a hello that ends before MaxHello in a record that does not.
func overhanging(t *testing.T) []byte {
	t.Helper()
	recs := recordsOf(padded(t, sni.MaxHello-10, 1<<14))
	last := len(recs) - 1
	recs[last] = record(22, recs[last][5:], make([]byte, 20))
	return cat(recs...)
}

func TestHelloBeyondTheLimitIsRefused(t *testing.T) {
	fits := padded(t, sni.MaxHello, 1<<14)
	h, err := sni.Parse(cat(fits, []byte("more")))
	if err != nil || string(h.ServerName) != "a.test" {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
	over := [][]byte{
		padded(t, sni.MaxHello+1, 1<<14),
		split(message(ext(0x2000, make([]byte, 11_000))), 1),
		overhanging(t),
		overhanging(t)[:sni.MaxHello],
	}
	for i, b := range over {
		if _, err := sni.Parse(b); err != sni.ErrTooLarge {
			t.Errorf("%d, %d bytes: %v", i, len(b), err)
		}
	}
	// The claim alone is enough.
	if _, err := sni.Parse(record(22, []byte{1, 1, 0, 0})); err != sni.ErrTooLarge {
		t.Errorf("a message of 64 KiB announced: %v", err)
	}
	if _, err := sni.Parse(record(22, []byte{1, 0, 0x80, 0})); err != sni.ErrIncomplete {
		t.Errorf("a message of 32 KiB announced: %v", err)
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for file, b := range golden(t) {
		want := 0.0
		if len(recordsOf(b)) > 1 {
			want = 1
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = sni.Parse(b) }); n != want {
			t.Errorf("%s: %v allocations, want %v", file, n, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, file := range []string{"openssl.bin", "go.bin", "chromium.bin", "openssl-records.bin"} {
		hello := golden(b)[file]
		b.Run(file, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sni.Parse(hello); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseManyExtensions has every extension checked against all others.
func BenchmarkParseManyExtensions(b *testing.B) {
	var exts [][]byte
	for i := range 16_000 {
		exts = append(exts, ext(0x1000+i))
	}
	hello := split(message(exts...), 1<<14)
	for b.Loop() {
		if _, err := sni.Parse(hello); err != nil {
			b.Fatal(err)
		}
	}
}
