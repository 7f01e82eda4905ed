package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"keystay/internal/cli"
	"keystay/internal/plain"
)

// What --json prints has no character that a terminal might act on, and means the same.
func TestJSONIsPrintable(t *testing.T) {
	want := map[string]string{"é\x7f\u009b2J": "\x1b[2J\u202e\U000e0001 \u2028\"ü<😀\t\nb"}
	var b strings.Builder
	if err := cli.WriteJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	if b.String() != plain.Lines(b.String()) || !strings.Contains(b.String(), "ü") {
		t.Errorf("printed %q", b.String())
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || len(got) != 1 || got["é\x7f\u009b2J"] != want["é\x7f\u009b2J"] {
		t.Errorf("%q means %q, %v", b.String(), got, err)
	}
}
