package config_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// utf16le is s as Windows' shells write it.
func utf16le(s string) string {
	var b strings.Builder
	for _, u := range append([]uint16{0xfeff}, utf16.Encode([]rune(s))...) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

// The key that a CA gave out is taken in every form that CAs, and the files and
// variables people put it into, have.
func TestBindingKeyInEveryForm(t *testing.T) {
	const want = "-_-_c2VjcmV0MQ"
	for _, form := range []string{
		"-_-_c2VjcmV0MQ", "-_-_c2VjcmV0MQ==", "+/+/c2VjcmV0MQ==", "+/+/c2VjcmV0MQ", "+_-/c2VjcmV0MQ",
		" +/+/c2VjcmV0MQ==\r\n", `"+/+/c2VjcmV0MQ=="`, "'-_-_c2VjcmV0MQ'\n", "+/+/c2Vj\n cmV0MQ==\n", "\ufeff-_-_c2VjcmV0MQ",
	} {
		clean(t)
		t.Setenv("KEYSTAY_REMOTE_ACME_EAB_HMAC", form)
		t.Setenv("KEYSTAY_REMOTE_ACME_EAB_KID", " \"kid\"\n")
		if r, _, err := loadRemote(t, "3000"); err != nil || string(r.ACMEEABHMAC) != want || r.ACMEEABKID != "kid" {
			t.Errorf("remote, %q: %v", form, err)
		}
		clean(t)
		t.Setenv("KEYSTAY_RELAY_ACME_EAB_HMAC", form)
		t.Setenv("KEYSTAY_RELAY_ACME_EAB_KID", "kid")
		if r, _, err := loadRelay(t, "--domain", "relay.test"); err != nil || string(r.ACME.EAB.HMAC) != want {
			t.Errorf("relay, %q: %v", form, err)
		}
	}
	clean(t)
	t.Setenv("KEYSTAY_REMOTE_ACME_EAB_KID", "kid")
	for _, form := range []string{"a!b", "c2VjcmV0MQ==.", "\"c2Vj"} {
		t.Setenv("KEYSTAY_REMOTE_ACME_EAB_HMAC", form)
		_, _, err := loadRemote(t, "3000")
		wantText(t, err, "KEYSTAY_REMOTE_ACME_EAB_HMAC: the key is not base64 text\nhint: copy it as the CA shows it")
	}
}

// A token and a configuration are read as other tools write them.
func TestFilesOfOtherTools(t *testing.T) {
	for _, change := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return "\ufeff" + s },
		func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") },
		utf16le,
	} {
		files := map[string]string{"token": change("secret\n"), "relay.yaml": change("domain: relay.test\nlog:\n  level: warn\n")}
		inFolder(t, files)
		if r, _, err := loadRemote(t, "--token-file", "token", "3000"); err != nil || string(r.Token) != "secret" {
			t.Errorf("token %q: %v", files["token"], err)
		}
		if r, _, err := loadRelay(t, "--config", "relay.yaml"); err != nil || r.Domain != "relay.test" || r.Log.Level != "warn" {
			t.Errorf("configuration %q: %v", files["relay.yaml"], err)
		}
	}
}

func TestSeveralCAsKeepTheirOrder(t *testing.T) {
	clean(t)
	const one, two = "https://one.test/dir", "https://two.test/dir"
	for _, args := range [][]string{{"--acme-ca", one, "--acme-ca", two}, {"--acme-ca", one + "," + two}} {
		if r, _, err := loadRemote(t, append(args, "3000")...); err != nil || !slices.Equal(r.ACMECAs, []string{one, two}) {
			t.Errorf("%q: %v", args, err)
		}
	}
	_, _, err := loadRemote(t, "--acme-ca", one, "--acme-ca", one, "3000")
	wantText(t, err, "--acme-ca: the same one twice: \""+one+"\"\nhint: the next is asked when one cannot or will not give a certificate")
	_, _, err = loadRemote(t, "--acme-ca", one, "--acme-ca", "http://two.test", "3000")
	wantText(t, err, "--acme-ca: \"http://two.test\" is no https:// URL\nhint: as in https://acme-v02.api.letsencrypt.org/directory")
}
