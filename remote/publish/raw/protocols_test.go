package raw_test

import (
	"testing"

	"keystay/remote/publish/raw"
)

// The protocol that is agreed on is one that the visitor has offered, none where it
// has offered none, and it leads to the service that has it.
func TestProtocolIsChosenOfWhatIsOffered(t *testing.T) {
	web := raw.Protocols{Web: true, Rules: [][]string{{"mqtt"}}}
	other := raw.Protocols{Rules: [][]string{{"h2", "http/1.1"}}}
	for _, c := range []struct {
		name    string
		p       raw.Protocols
		offered []string
		want    string
		ok      bool
		service int
	}{
		{"web", web, nil, "", true, 0},
		{"web", web, []string{"http/1.1", "h2"}, "h2", true, 0},
		{"web", web, []string{"http/1.1"}, "http/1.1", true, 0},
		{"web", web, []string{"h2", "mqtt"}, "mqtt", true, 1},
		{"web", web, []string{"postgresql"}, "", false, 0},
		{"other", other, nil, "", true, 0},
		{"other", other, []string{"postgresql"}, "postgresql", true, 0},
		{"other", other, []string{"x", "y"}, "x", true, 0},
		{"other", other, []string{"x", "http/1.1"}, "http/1.1", true, 1},
		{"other", other, []string{"\x0a\x0a", "x"}, "x", true, 0},
		{"other", other, []string{"\xfa\xfa"}, "", true, 0},
	} {
		got, ok := c.p.Choose(c.offered)
		if got != c.want || ok != c.ok {
			t.Errorf("%s, offered %q: %q, %t; want %q, %t", c.name, c.offered, got, ok, c.want, c.ok)
		}
		if n := c.p.Service(got); ok && n != c.service {
			t.Errorf("%s: %q leads to %d, want %d", c.name, got, n, c.service)
		}
	}
}
