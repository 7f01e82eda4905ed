package archtest

import (
	"go/version"
	"os"
	"regexp"
	"testing"
)

// floor is the oldest Go that has the fixes of crypto/tls which this module
// needs: unauthenticated peers could exhaust older ones.
const floor = "go1.26.8"

// Whoever builds either module gets the fixes: an older go command refuses or
// fetches this one.
func TestBothModulesHaveAFloorForGo(t *testing.T) {
	line := regexp.MustCompile(`(?m)^go (\S+)$`)
	for _, file := range []string{"../../go.mod", "../../e2e/go.mod"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := line.FindSubmatch(text)
		if m == nil || version.Compare("go"+string(m[1]), floor) < 0 {
			t.Errorf("%s: %s, and it must be %s or later", file, m, floor)
		}
	}
}
