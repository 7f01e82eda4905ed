package htmx_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"keystay/internal/htmx"
)

// The script is the one that the table says.
func TestScriptIsThatOfTheTable(t *testing.T) {
	table, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*\\| ([0-9.]+) \\| `([0-9a-f]{64})`").FindStringSubmatch(string(table))
	if row == nil || row[1] != htmx.Name || row[3] != fmt.Sprintf("%x", sha256.Sum256([]byte(htmx.Script()))) {
		t.Fatal(row)
	}
	if !strings.Contains(htmx.Script(), `version:"`+row[2]+`"`) {
		t.Error("it is another version")
	}
}

func ExampleScript() {
	fmt.Println(htmx.Name, strings.HasPrefix(htmx.Script(), "var htmx="))
	// Output: htmx.min.js true
}
