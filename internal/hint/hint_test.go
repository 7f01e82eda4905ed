package hint_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/hint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A silent error has the method and no hints: what it wraps has them.
type silent struct{ error }

func (silent) Hints() []string { return nil }
func (s silent) Unwrap() error { return s.error }

func TestAllFindsEachHintOnceBehindSilentErrors(t *testing.T) {
	missing := hint.FileMissing.Error(errors.New("gone"), "FILE", "/x")
	err := fmt.Errorf("start: %w", errors.Join(silent{missing}, errors.New("plain"), silent{hint.Offline.Error(missing)}))
	want := append([]string{"check the path /x"}, hint.Offline.Do...)
	if got := hint.All(err); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	relay := &hint.Advice{Do: []string{"ask the relay's operator for a token, and give it with --token-file"}} // as a relay says it
	if got := hint.All(hint.TokenWanted.Error(relay.Error(errors.New("refused")))); !slices.Equal(got, hint.TokenWanted.Do) {
		t.Errorf("the same advice twice: %q", got)
	}
	if got := hint.All(nil); got != nil {
		t.Errorf("no error has hints: %q", got)
	}
	if err := hint.Offline.Error(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestAttrWithoutHintsIsLeftOut(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("a", hint.Attr(nil))
	log.Info("b", hint.Attr([]string{"one", "two"}))
	first, second, _ := strings.Cut(out.String(), "\n")
	if strings.Contains(first, "hint") || !strings.Contains(second, `hint="one; two"`) {
		t.Error(out.String())
	}
}

// Both programs give the advice about CAs: what names a setting of the remote
// names the relay's too, or what both have.
func TestAdviceAboutCAsIsForBothPrograms(t *testing.T) {
	for _, a := range hint.ACME() {
		for _, line := range a.Do {
			if strings.Contains(line, "--") && !strings.Contains(line, "for the relay: ") && !strings.Contains(line, "HTTPS_PROXY") {
				t.Errorf("%s: %q leaves the relay's operator alone", a.Shown, line)
			}
		}
	}
}

func ExampleAdvice_Error() {
	err := hint.FileMissing.Error(errors.New("open /etc/key.pem: no such file or directory"), "FILE", "/etc/key.pem")
	fmt.Println(err)
	for _, line := range hint.All(err) {
		fmt.Println("hint:", line)
	}
	// Output:
	// open /etc/key.pem: no such file or directory
	// hint: check the path /etc/key.pem
}
