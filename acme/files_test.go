package acme

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/hint"
	"keystay/internal/testca"
)

// bring writes a new certificate and key to dir.
func bring(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	cert, key := pair(t, name, time.Now(), time.Now().Add(day))
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestFilesAreReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := bring(t, dir, "first.test")
		f, err := LoadFiles(certFile, keyFile, "")
		if err != nil {
			t.Fatal(err)
		}
		served := func() string {
			c, err := f.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf.DNSNames[0]
		}
		// The files' times are the machine's, not the bubble's.
		touch := func(file string, n int) {
			if err := os.Chtimes(file, time.Time{}, time.Unix(int64(n), 0)); err != nil {
				t.Fatal(err)
			}
		}
		bring(t, dir, "second.test")
		touch(certFile, 2)
		if got := served(); got != "first.test" {
			t.Errorf("within the minute: %s", got)
		}
		time.Sleep(reloadInterval)
		if got := served(); got != "second.test" || f.Err() != nil {
			t.Errorf("after it: %s, %v", got, f.Err())
		}

		// Half of a new pair, or none, leaves the last good one.
		key, err := os.ReadFile(keyFile)
		if err != nil {
			t.Fatal(err)
		}
		bring(t, dir, "third.test")
		third, _ := os.ReadFile(keyFile)
		os.WriteFile(keyFile, key, 0o600)
		touch(certFile, 3)
		time.Sleep(reloadInterval)
		if got := served(); got != "second.test" || f.Err() == nil {
			t.Errorf("with half a pair: %s, %v", got, f.Err())
		}
		os.Remove(keyFile)
		time.Sleep(reloadInterval)
		if got := served(); got != "second.test" || !errors.Is(f.Err(), fs.ErrNotExist) {
			t.Errorf("without a key: %s, %v", got, f.Err())
		}
		os.WriteFile(keyFile, third, 0o600)
		time.Sleep(reloadInterval)
		if got := served(); got != "third.test" || f.Err() != nil {
			t.Errorf("mended: %s, %v", got, f.Err())
		}
	})
}

// Certificates and keys are read as other tools write them, both in one file too.
func TestFilesOfOtherTools(t *testing.T) {
	cert, key := pair(t, "app.test", time.Now(), time.Now().Add(day))
	intermediate, _ := pair(t, "ca.test", time.Now(), time.Now().Add(day))
	for name, change := range map[string]func(string) string{
		"Windows line ends": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"a byte order mark": func(s string) string { return "\ufeff" + s },
		"text before": func(s string) string {
			return "Bag Attributes\n    localKeyID: 01\nsubject=CN = app.test\n\n" + s
		},
		"indented":    func(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") },
		"in one file": func(string) string { return string(key) + string(cert) },
		"a chain and a key": func(s string) string {
			return string(cert) + string(intermediate) + "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(key)
		},
	} {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "c"), filepath.Join(dir, "k")
		for file, b := range map[string][]byte{certFile: cert, keyFile: key} {
			if err := os.WriteFile(file, []byte(change(string(b))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := LoadFiles(certFile, keyFile, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c, err := f.GetCertificate(nil); err != nil || c.Leaf.DNSNames[0] != "app.test" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := bring(t, dir, "first.test")
	otherCert, _ := bring(t, t.TempDir(), "other.test")
	missing := filepath.Join(dir, "missing")
	for _, files := range [][2]string{{otherCert, keyFile}, {keyFile, certFile}, {missing, keyFile}, {certFile, missing}, {dir, keyFile}} {
		_, err := LoadFiles(files[0], files[1], "")
		var ferr *FileError
		if !errors.As(err, &ferr) {
			t.Errorf("%v: %v", files, err)
			continue
		}
		if files[0] != dir && len(ferr.Hints()) == 0 || strings.Count(err.Error(), ferr.Path) != 1 {
			t.Errorf("%v: %v, hints %q", files, err, ferr.Hints())
		}
	}
	f, err := LoadFiles(certFile, keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err, got := handshake(f.TLSConfig(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}); err != nil || got.NegotiatedProtocol != "h2" {
		t.Errorf("%q, %v", got.NegotiatedProtocol, err)
	}
	denied := &FileError{Path: "/x", Err: fs.ErrPermission}
	if len(denied.Hints()) == 0 || denied.Error() != "/x: permission denied" {
		t.Error(denied, denied.Hints())
	}
}

func TestUnfitCertificateSaysWhy(t *testing.T) {
	certFile, keyFile := bring(t, t.TempDir(), "relay.test")
	now := time.Now() // not before the certificate is valid
	f, err := LoadFiles(certFile, keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		at   time.Time
		want []string // in the errors, one each
	}{
		{"relay.test", now, nil},
		{"", now, nil},
		{"other.test", now, []string{"other.test"}},
		{"relay.test", now.Add(2 * day), []string{"it has expired on"}},
		{"other.test", now.Add(-2 * day), []string{"other.test", "it is not valid before"}},
	} {
		errs := f.Unfit(c.name, c.at)
		ok := len(errs) == len(c.want)
		for i := range min(len(errs), len(c.want)) {
			ok = ok && strings.HasPrefix(errs[i].Error(), certFile+": ") && strings.Contains(errs[i].Error(), c.want[i])
		}
		if !ok {
			t.Errorf("%q at %v: %v, want %q", c.name, c.at, errs, c.want)
		}
	}
}

// A certificate that clients will refuse takes the place of one that they
// accept only once they do not accept that one any more.
func TestAnUnfitCertificateReplacesNoGoodOne(t *testing.T) {
	dir := t.TempDir()
	n := int64(0)
	write := func(name string, from, until time.Time) (string, string) {
		t.Helper()
		n++
		cert, key := pair(t, name, from, until)
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		for file, b := range map[string][]byte{certFile: cert, keyFile: key} {
			if err := errors.Join(os.WriteFile(file, b, 0o600), os.Chtimes(file, time.Time{}, time.Unix(n, 0))); err != nil {
				t.Fatal(err)
			}
		}
		return certFile, keyFile
	}
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		certFile, keyFile := write("a.test", now.Add(-day), now.Add(day))
		f, err := LoadFiles(certFile, keyFile, "a.test")
		if err != nil {
			t.Fatal(err)
		}
		good := f.cert
		for why, c := range map[string]struct {
			name        string
			from, until time.Time
		}{
			"expired":   {"a.test", now.Add(-2 * day), now.Add(-day)},
			"too early": {"a.test", now.Add(2 * day), now.Add(3 * day)},
			"foreign":   {"b.test", now.Add(-day), now.Add(day)},
		} {
			write(c.name, c.from, c.until)
			if _, err := f.Reload(); err == nil || f.cert != good {
				t.Errorf("%s: taken, %v", why, err)
			}
		}
		write("a.test", now.Add(25*time.Hour), now.Add(3*day))
		if _, err := f.Reload(); err == nil {
			t.Error("taken a day too early")
		}
		time.Sleep(25*time.Hour + time.Minute)
		if _, err := f.Reload(); err != nil || f.cert == good {
			t.Errorf("not taken when the one from before has expired: %v", err)
		}
	})
}

// Of several names, all that the certificate in use is for must be in the one that
// takes its place, and those are asked for that were set last.
func TestCertificateTakesThePlaceOfOneForAllItsNames(t *testing.T) {
	ca := testca.New(t)
	for _, c := range []struct {
		old, set, later []string
		taken           bool
	}{
		{[]string{"a.test", "b.test"}, []string{"a.test", "b.test"}, []string{"b.test", "a.test", "c.test"}, true},
		{[]string{"a.test", "b.test"}, []string{"a.test", "b.test"}, []string{"a.test"}, false},
		{[]string{"a.test", "b.test"}, []string{"a.test", "b.test"}, []string{"b.test"}, false},
		{[]string{"a.test", "b.test"}, []string{"b.test"}, []string{"b.test"}, true},
		{[]string{"a.test"}, []string{"a.test", "b.test"}, []string{"a.test"}, true},
		{[]string{"a.test"}, []string{"a.test", "b.test"}, []string{"b.test"}, false},
		{[]string{"a.test"}, []string{"b.test"}, []string{"c.test"}, true},
		{[]string{"a.test"}, nil, []string{"c.test"}, true},
	} {
		dir := t.TempDir()
		certFile, keyFile := ca.Files(dir, c.old...)
		f, err := LoadFiles(certFile, keyFile, "")
		if err != nil {
			t.Fatal(err)
		}
		f.SetNames(c.set...)
		good := f.cert
		ca.Files(dir, c.later...)
		for _, file := range []string{certFile, keyFile} {
			if err := os.Chtimes(file, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Reload(); (err == nil) != c.taken || (f.cert != good) != c.taken {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A file that is no PEM is named, whichever of both it is, with what makes PEM of it.
func TestFilesNameAnotherForm(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := bring(t, dir, "a.test")
	der := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		out := file + ".der"
		if err := os.WriteFile(out, block.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, c := range []struct{ cert, key, wrong, command string }{
		{der(certFile), keyFile, der(certFile), "openssl x509 -inform DER"},
		{certFile, der(keyFile), der(keyFile), "openssl pkey -inform DER"},
		{keyFile, certFile, keyFile, "wrong way round"},
	} {
		_, err := LoadFiles(c.cert, c.key, "")
		var wrong *FileError
		if !errors.As(err, &wrong) || wrong.Path != c.wrong || !strings.HasPrefix(err.Error(), c.wrong+" ") || !strings.Contains(strings.Join(wrong.Hints(), "\n"), c.command) {
			t.Errorf("%v, %q", err, hint.All(err))
		}
	}
}
