package gate_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keystay/internal/hint"
	"keystay/remote/publish/gate"
)

// The files of a store are for its user alone, and several processes have one key.
func TestStoresOfAFolderHaveOneKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	stores := make([]*gate.Store, 20)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() { stores[i], _ = gate.Open(dir) })
	}
	wg.Wait()
	rule := gate.Rule{Passwords: users(t, "ada:wind")}
	signed := newRig(t, stores[0], rule).signIn("ada", "wind", "/")
	for _, s := range stores {
		x := newRig(t, s, rule)
		x.want("in another process", x.get("/", withCookies(signed...)), http.StatusOK)
	}
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", p, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A key that is damaged is not made anew in silence: it says what to do.
func TestDamagedKeyIsTold(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	file := filepath.Join(dir, gate.Folder, "key")
	for _, damaged := range []string{"", "xx", strings.Repeat("0", 62)} {
		if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := gate.Open(dir); err == nil || len(hint.All(err)) == 0 || !strings.Contains(hint.All(err)[0], file) {
			t.Errorf("%q: %v %q", damaged, err, hint.All(err))
		}
	}
}

// Where it cannot be read which sessions were ended, all are.
func TestDamagedListOfEndedSessionsEndsAll(t *testing.T) {
	for _, damaged := range []string{"x\n", "session a b\n", "everyone\n", strings.Repeat("x", 2<<20)} {
		dir := t.TempDir()
		rule := gate.Rule{Passwords: users(t, "ada:wind")}
		x := newRig(t, open(t, dir), rule)
		signed := withCookies(x.signIn("ada", "wind", "/")...)
		if err := os.WriteFile(filepath.Join(dir, gate.Folder, "ended", name), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		y := newRig(t, open(t, dir), rule)
		y.want("a session of before", y.get("/", signed), http.StatusUnauthorized)
		y.want("a new one", y.get("/", withCookies(y.signIn("ada", "wind", "/")...)), http.StatusOK)
		z := newRig(t, open(t, dir), rule)
		z.want("a session of before, after another restart", z.get("/", signed), http.StatusUnauthorized)
	}
}

// However often users sign out, little is remembered, and nobody is let in who has
// signed out.
func TestEndedSessionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	rule := gate.Rule{Passwords: users(t, "ada:wind", "bob:rain")}
	x := newRig(t, open(t, dir), rule)
	bob := withCookies(x.signIn("bob", "rain", "/")...)
	var all []change
	for range 70 {
		signed := withCookies(x.signIn("ada", "wind", "/")...)
		x.want("a new session", x.get("/", signed), http.StatusOK)
		x.want("signing out", x.post(signOutPath, nil, signed), http.StatusOK)
		all = append(all, signed)
	}
	file, err := os.ReadFile(filepath.Join(dir, gate.Folder, "ended", name))
	if err != nil || strings.Count(string(file), "\n") > 70 || strings.Contains(string(file), "ada") {
		t.Errorf("%d lines: %v", strings.Count(string(file), "\n"), err)
	}
	for i, y := range []*rig{x, newRig(t, open(t, dir), rule)} {
		for _, signed := range all {
			y.want(fmt.Sprint("an ended session, ", i), y.get("/", signed), http.StatusUnauthorized)
		}
		y.want("another user", y.get("/", bob), http.StatusOK)
	}
}
