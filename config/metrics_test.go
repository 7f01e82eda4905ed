package config_test

import (
	"strings"
	"testing"
)

// Figures are served where they are asked for, to this machine alone unless another
// address is said, and then with a warning.
func TestMetricsListenOnLoopbackUnlessToldOtherwise(t *testing.T) {
	inFolder(t, map[string]string{"true.yaml": "metrics: true\nservices: [{local: 3000}]\n", "port.yaml": "metrics: 4040\nservices: [{local: 3000}]\n"})
	for _, tt := range []struct {
		args []string
		want string
		warn bool
	}{
		{[]string{"3000"}, "", false},
		{[]string{"3000", "--metrics"}, "127.0.0.1:9441", false},
		{[]string{"--metrics", "3000"}, "127.0.0.1:9441", false},
		{[]string{"3000", "--metrics=off"}, "", false},
		{[]string{"3000", "--metrics=127.0.0.1:0"}, "127.0.0.1:0", false},
		{[]string{"3000", "--metrics=localhost:4040"}, "127.0.0.1:4040", false},
		{[]string{"3000", "--metrics=[::1]:4040"}, "[::1]:4040", false},
		{[]string{"3000", "--metrics=[::]:4040"}, "[::]:4040", true},
		{[]string{"3000", "--metrics=192.0.2.1:4040"}, "192.0.2.1:4040", true},
		{[]string{"--config", "true.yaml"}, "127.0.0.1:9441", false},
		{[]string{"--config", "port.yaml"}, "127.0.0.1:4040", false},
		{[]string{"--config", "port.yaml", "--metrics=off"}, "", false},
	} {
		r, warnings, err := loadRemote(t, tt.args...)
		if err != nil || r.Metrics != tt.want || (len(warnings) > 0) != tt.warn {
			t.Errorf("%q: %+v, %v, %v; want %q", tt.args, r, warnings, err, tt.want)
		}
	}
	for _, arg := range []string{":9441", "host:9441", "65536", "127.0.0.1", "127.0.0.1:x", "yes"} {
		if _, _, err := loadRemote(t, "3000", "--metrics="+arg); err == nil || !strings.Contains(err.Error(), "--metrics: ") {
			t.Errorf("%s: %v", arg, err)
		}
	}
}
