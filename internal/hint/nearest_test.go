package hint_test

import (
	"strings"
	"testing"

	"keystay/internal/hint"
)

func TestNearestWordIsWhatWasMeant(t *testing.T) {
	words := []string{"domain", "listen", "http_listen", "names", "log", "tls", "abuse"}
	tests := []struct{ in, want string }{
		{"nmaes", "names"}, {"name", "names"}, {"Listen", "listen"}, {"http-listen", "http_listen"}, {"tsl", "tls"}, {"domian", "domain"},
		{"lgo", "log"}, {"cluster", ""}, {"x", ""}, {"", ""}, {strings.Repeat("a", 1<<20), ""},
	}
	for _, tt := range tests {
		if got := hint.Nearest(tt.in, words); got != tt.want {
			t.Errorf("%.20q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
