package main

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"keystay/internal/hint"
	"keystay/remote/publish/gate"
)

// The line that is printed is one that gates take, and of the password that was given.
func TestPasswordMakesALineForGates(t *testing.T) {
	var out bytes.Buffer
	cmd := passwordCommand()
	cmd.SetIn(strings.NewReader("pass word \r\n"))
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"me"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	user, hash, _ := strings.Cut(strings.TrimSuffix(out.String(), "\n"), ":")
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte("pass word ")); err != nil || user != "me" {
		t.Errorf("%q: %v", out.String(), err)
	}
	if _, err := gate.ParsePasswords(out.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoPassword(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "there is none",
		"\n":                    "there is none",
		"a\nb\n":                "it is one line, and there are more",
		strings.Repeat("x", 73): "it has 73 bytes, and bcrypt looks at the first 72",
	} {
		if _, err := askPassword(strings.NewReader(in), nil, "me"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	cmd := passwordCommand()
	cmd.SetIn(strings.NewReader("a\nb\n"))
	cmd.SetArgs([]string{"me"})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	if err := cmd.Execute(); len(hint.All(err)) != 1 {
		t.Errorf("%v, hints %q", err, hint.All(err))
	}
	for _, user := range []string{"", "a:b", "a b", "a\n"} {
		cmd := passwordCommand()
		cmd.SetIn(strings.NewReader("x"))
		cmd.SetArgs([]string{user})
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		if cmd.Execute() == nil {
			t.Errorf("%q is a user", user)
		}
	}
}
