package hostname_test

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/idna"

	"keystay/internal/hostname"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNamesHaveOneNormalForm(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Join([]string{label63, label63, label63, label63[:61]}, ".")
	for _, c := range []struct{ in, want string }{
		{"xyz.relay.net", "xyz.relay.net"},
		{"XYZ.Relay.NET", "xyz.relay.net"},
		{"xyz.relay.net.", "xyz.relay.net"},
		{"localhost", "localhost"},
		{"a", "a"},
		{"3com.com", "3com.com"},
		{"1.2.3.4.com", "1.2.3.4.com"},
		{"r3---sn-abc.test", "r3---sn-abc.test"},
		{"1e3", "1e3"},
		{"a.0xg", "a.0xg"},
		{"xn--bcher-kva.test", "xn--bcher-kva.test"},
		{"XN--BCHER-KVA.test", "xn--bcher-kva.test"},
		{"xn--fa-hia.test", "xn--fa-hia.test"}, // faß
		{"xn--i-7iq.ws", "xn--i-7iq.ws"},       // an emoji, which browsers take
		{"xn--mgba3a4f16a.ir", "xn--mgba3a4f16a.ir"},
		{label63 + ".test", label63 + ".test"},
		{name253, name253},
		{name253 + ".", name253},
	} {
		got, err := hostname.Normalize([]byte(c.in))
		if err != nil || got != c.want {
			t.Errorf("%q: %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{
		"", ".", "..", "a..", "a..b", ".a",
		"-a.test", "a-.test", "a.-",
		"a_b.test", "a b.test", "*.test", "a/b", "a\x00b", "b\xc3\xbccher.test", "a@b", "a:443",
		label63 + "a.test", name253 + "a", name253 + "..",
		"192.0.2.1", "192.0.2.1.", "3232235521", "192.513", "0300.0.2.1", "0xc0000201", "0xC0.0.2.0X1", "a.0x", "a.1", "1.2.3.4.5",
		"2001:db8::1", "[2001:db8::1]", "::", "fe80::1%eth0",
		"xn--", "xn--a", "xn--example-.test", "xn--example-", "xn--99zzzzzzzzzzzzzzzz", "xn--xn--a-ecp.test",
		"xn--test-", "xn--a-b", "xn--0.test",
	} {
		if got, err := hostname.Normalize([]byte(in)); !errors.Is(err, hostname.ErrInvalid) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestNormalizeLeavesItsArgument(t *testing.T) {
	in := []byte("A.Test.")
	if _, err := hostname.Normalize(in); err != nil || string(in) != "A.Test." {
		t.Errorf("%q, %v", in, err)
	}
}

func TestTypedTakesOtherScripts(t *testing.T) {
	for in, want := range map[string]string{
		"Bücher.test":        "xn--bcher-kva.test",
		"XYZ.relay.net.":     "xyz.relay.net",
		"r3---sn-ab.test":    "r3---sn-ab.test",
		"例え.テスト":             "xn--r8jz45g.xn--zckzah",
		"xn--bcher-kva.test": "xn--bcher-kva.test",
	} {
		if got, err := hostname.Typed(in); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a b.test", "ü_x.test", "ü..test", "“a.test”", "„a.test“", "‘a’.test", "«a».test", "my–app.test", "１９２.0.2.1", strings.Repeat("ü", 4*hostname.Max)} {
		if got, err := hostname.Typed(in); !errors.Is(err, hostname.ErrInvalid) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestHostHeaderHoldsAName(t *testing.T) {
	for _, in := range []string{"xyz.relay.net", "XYZ.relay.net", "xyz.relay.net.", "xyz.relay.net:443", "xyz.relay.net.:8443", "xyz.relay.net:"} {
		if got, err := hostname.OfHeader(in); err != nil || got != "xyz.relay.net" {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", ":", ":443", "[xyz.relay.net]", "[xyz.relay.net]:80", "xyz.relay.net:x", "xyz.relay.net:80:80", "a@xyz.relay.net", "a:b@xyz.relay.net",
		"xyz.relay.net/", " xyz.relay.net", "xyz.relay.net ", "xyz%2erelay.net", "xyz.relay.net..", "[::1]:443", "::1", "192.0.2.1:443", "xyz.relay.net:+1",
	} {
		if got, err := hostname.OfHeader(in); !errors.Is(err, hostname.ErrInvalid) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

var ldh = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// FuzzNormalize: what comes out is a lower-case LDH name that is its own
// normal form, no address, and what went in but for case and a dot.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"xyz.Relay.net.", "192.0.2.1", "0x1", "xn--bcher-kva.test", "r3---sn.test", "a..b", "::1", "-"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := hostname.Normalize(in)
		if err != nil {
			if !errors.Is(err, hostname.ErrInvalid) || s != "" {
				t.Errorf("%q: %q, %v", in, s, err)
			}
			return
		}
		if !ldh.MatchString(s) || len(s) > hostname.Max {
			t.Errorf("%q: %q is not LDH", in, s)
		}
		if _, err := netip.ParseAddr(s); err == nil {
			t.Errorf("%q: %q is an address", in, s)
		}
		if again, err := hostname.Normalize([]byte(s)); err != nil || again != s {
			t.Errorf("%q: %q, then %q, %v", in, s, again, err)
		}
		for label := range strings.SplitSeq(s, ".") {
			if !strings.HasPrefix(label, "xn--") {
				continue
			}
			u, err := idna.Lookup.ToUnicode(label)
			if err != nil || u == label {
				t.Errorf("%q is %q, %v", label, u, err)
			}
			if a, err := idna.Lookup.ToASCII(u); err != nil || a != label {
				t.Errorf("%q is %q, which is %q, %v", label, u, a, err)
			}
		}
		if !strings.EqualFold(s, strings.TrimSuffix(string(in), ".")) {
			t.Errorf("%q became %q", in, s)
		}
	})
}

func BenchmarkNormalize(b *testing.B) {
	name := []byte("xyz.relay.net")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := hostname.Normalize(name); err != nil {
			b.Fatal(err)
		}
	}
}
