package acme

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hashOf is the key of a certificate in PEM.
func hashOf(t *testing.T, cert, key []byte) [sha256.Size]byte {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return keyOf(pair.Leaf)
}

func isKnown(t *testing.T, keys *Keys, key [sha256.Size]byte) bool {
	t.Helper()
	_, known, err := keys.Find(key)
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func TestAKeyIsNotedBeforeItsOrderGoesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var lines atomic.Int32
		k, events := newKeeper(t, Config{Dir: dir}, func(r *http.Request) (*http.Response, error) {
			b, _ := os.ReadFile(filepath.Join(dir, keysFile))
			lines.CompareAndSwap(0, int32(bytes.Count(b, []byte(" "+name+"\n"))))
			return offline(r)
		})
		manage(t, k)
		next(events, Failed)
		if lines.Load() != 1 {
			t.Error("the CA was asked before the key was noted")
		}
		if info, err := os.Stat(filepath.Join(dir, keysFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		k.Close()
	})
}

func TestNothingIsOrderedForAKeyThatCannotBeNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, keysFile), 0o700); err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int32
		k, events := newKeeper(t, Config{Dir: dir}, func(r *http.Request) (*http.Response, error) { asked.Add(1); return offline(r) })
		manage(t, k)
		ev := next(events, Failed)
		if file, ok := errors.AsType[*FileError](ev.Err); !ok || file.Path != filepath.Join(dir, keysFile) || asked.Load() != 0 {
			t.Errorf("%v, after %d requests", ev.Err, asked.Load())
		}
		k.Close()
	})
}

func TestTheFirstRecordHasTheCertificatesThatAreThere(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, name, time.Now(), time.Now().Add(day))
	folder := filepath.Join(dir, "certificates", "ca.test", name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string][]byte{name + ".crt": cert, "broken.crt": []byte("x")} {
		if err := os.WriteFile(filepath.Join(folder, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newKeeper(t, Config{Dir: dir}, offline)
	keys := OpenKeys(dir)
	if !isKnown(t, keys, hashOf(t, cert, key)) {
		t.Error("the key of the certificate that was there is not known")
	}
	if since, err := keys.Since(); err != nil || time.Since(since).Abs() > time.Hour {
		t.Errorf("begun %v, %v", since, err)
	}
}

func TestProcessesShareARecord(t *testing.T) {
	dir := t.TempDir()
	one, other := OpenKeys(dir), OpenKeys(dir)
	a, b, c := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b")), sha256.Sum256([]byte("c"))
	if isKnown(t, other, a) {
		t.Error("known before it was noted")
	}
	if err := errors.Join(one.Note(name, a), other.Note(name, b), one.Note(name, a)); err != nil {
		t.Fatal(err)
	}
	if !isKnown(t, other, a) || !isKnown(t, one, b) || isKnown(t, one, c) {
		t.Error("what one has noted, the other does not know")
	}
	if b, _ := os.ReadFile(filepath.Join(dir, keysFile)); bytes.Count(b, []byte("\n")) != 3 {
		t.Errorf("%s", b)
	}
}

// A line that broke off takes nothing from the next one, and an owner may add a key.
func TestARecordIsReadAsItIs(t *testing.T) {
	dir := t.TempDir()
	keys := OpenKeys(dir)
	first, second, byHand := sha256.Sum256([]byte("1")), sha256.Sum256([]byte("2")), sha256.Sum256([]byte("3"))
	if err := keys.Note(name, first); err != nil {
		t.Fatal(err)
	}
	add := func(text string) {
		f, err := os.OpenFile(filepath.Join(dir, keysFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	add(strings.ToUpper(hex.EncodeToString(byHand[:])) + "\n\n# a comment\nzz\n2026-01-01T00:00:00Z 12")
	if err := OpenKeys(dir).Note(name, second); err != nil {
		t.Fatal(err)
	}
	for _, key := range [][sha256.Size]byte{first, second, byHand} {
		if !isKnown(t, OpenKeys(dir), key) {
			t.Errorf("%x is not known", key[:4])
		}
	}
}
