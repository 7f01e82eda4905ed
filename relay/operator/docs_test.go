package operator_test

import (
	"os"
	"strings"
	"testing"

	"keystay/relay/operator"
)

// docs/control-api.md has each route.
func TestEachRouteIsDescribed(t *testing.T) {
	page, err := os.ReadFile("../../docs/control-api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range operator.Routes() {
		method, path, _ := strings.Cut(r, " ")
		path = strings.ReplaceAll(path, "{name}", "NAME")
		if !strings.Contains(string(page), "`"+method+" "+path+"`") && !strings.Contains(string(page), "`"+path+"`") {
			t.Errorf("%s is not described", r)
		}
	}
}
