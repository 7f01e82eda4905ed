package plain_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/plain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCutKeepsWholeCharacters(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{{"abcdef", 6, "abcdef"}, {"abcdefg", 6, "abc..."}, {"aää", 5, "aää"}, {"aäää", 5, "a..."}, {"abcd", 1, "..."}} {
		if got := plain.Cut(c.s, c.n); got != c.want {
			t.Errorf("%q in %d bytes is %q, want %q", c.s, c.n, got, c.want)
		}
	}
}

func TestTextIsOneLineThatOnlyPrints(t *testing.T) {
	for s, want := range map[string]string{
		"":                             "",
		"the name is taken: é 漢 🙂":     "the name is taken: é 漢 🙂",
		"\x1b]0;owned\a\x1b[2Jx":       " ]0;owned  [2Jx",
		"a\r\nhint: run this":          "a  hint: run this",
		"\u009b2J\u0085\x7f\x00\u2028": "  2J    "[1:],
		"\u202egnp.exe\u2066\u200b":    " gnp.exe  ",
		"\xff\xfe":                     "\ufffd\ufffd",
	} {
		if got := plain.Text(s); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	}
	if got := plain.Lines("a\x1bb\nc\td"); got != "a b\nc d" {
		t.Errorf("lines: %q", got)
	}
}

func TestErrorKeepsWhatItWraps(t *testing.T) {
	err := plain.Error(fmt.Errorf("read\x1b[2J: %w", io.EOF))
	if err.Error() != "read [2J: EOF" || !errors.Is(err, io.EOF) || plain.Error(nil) != nil {
		t.Errorf("%q, %v", err.Error(), plain.Error(nil))
	}
}

func ExampleText() {
	fmt.Println(plain.Text("closed\x1b[2J for today"))
	// Output: closed [2J for today
}
