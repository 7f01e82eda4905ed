package config

import (
	"strings"
	"testing"

	"keystay/internal/hostname"
)

func TestHostNamesAreNormalised(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := label63 + "." + label63 + "." + label63 + "." + strings.Repeat("b", 61)
	tests := []struct{ in, want string }{
		{"relay.net", "relay.net"},
		{"Relay.NET.", "relay.net"},
		{"relay.localhost", "relay.localhost"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"r3---sn-x.example.com", "r3---sn-x.example.com"},
		{"1.2.3.com", "1.2.3.com"},
		{name253, name253},
		{name253 + ".", name253},
		{label63 + ".net", label63 + ".net"},

		{"", ""},
		{".", ""},
		{"relay", ""},
		{"relay..net", ""},
		{"relay.net..", ""},
		{".relay.net", ""},
		{"-a.net", ""},
		{"a-.net", ""},
		{"a_b.net", ""},
		{"a b.net", ""},
		{"a\x00.net", ""},
		{"a.net:443", ""},
		{"*.relay.net", ""},
		{"192.0.2.1", ""},
		{"1.2.3", ""},
		{"0x7f.0x1", ""},
		{"::1", ""},
		{"[::1]", ""},
		{"xn--a.net", ""},
		{"xn--bücher.net", ""},
		{"\xff.net", ""},
		{"a" + name253, ""},
		{"a" + label63 + ".net", ""},
		{strings.Repeat("ü", 600) + ".net", ""},
		{strings.Repeat("a.", 1<<19) + "net", ""},
	}
	for _, tt := range tests {
		got, err := hostName(tt.in)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%.80q: %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func FuzzHostName(f *testing.F) {
	for _, s := range []string{"relay.net", "Bücher.example.", "xn--bcher-kva.de", "1.2.3.4", "a..b", "。.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := hostName(s)
		if err != nil {
			return
		}
		if again, err := hostName(name); again != name || err != nil {
			t.Errorf("%q becomes %q, and that %q, %v", s, name, again, err)
		}
		if len(name) > hostname.Max || !strings.Contains(name, ".") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			t.Errorf("%q becomes %q", s, name)
		}
	})
}
