//go:build unix

package ownfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keystay/internal/hint"
)

// A part of the path that belongs to somebody else inside a folder of one's own
// is named: it is what has to be given back.
func TestForeignNamesTheOutermostPart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	const user = 54321 // has no name
	state := filepath.Join(t.TempDir(), "state")
	inner := filepath.Join(state, "acme", "accounts")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if what, _, _ := foreign(inner, "", user); what != "" {
		t.Errorf("nothing is the user's own, but %q", what)
	}
	for _, path := range []string{state, inner, filepath.Join(state, "lock")} {
		if what, owner, name := foreign(path, state, user); what != state || owner != "root" || name != "54321" {
			t.Errorf("a state directory of somebody else: %s: %q %q %q", path, what, owner, name)
		}
	}
	if err := os.Chown(state, user, user); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{inner, filepath.Join(inner, "not there")} {
		if what, owner, name := foreign(path, "", user); what != filepath.Join(state, "acme") || owner != "root" || name != "54321" {
			t.Errorf("%s: %q %q %q", path, what, owner, name)
		}
	}
	if what, _, _ := foreign(inner, "", 0); what != "" {
		t.Errorf("root is told of %q", what)
	}
}

// The program's own folder, which somebody else has, is named, wherever it lies.
func TestStrangeNamesTheFolderOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	const user = 54321 // has no name
	dir := t.TempDir()
	if what, owner, name := strange(dir, user); what != dir || owner != "root" || name != "54321" {
		t.Errorf("%q %q %q", what, owner, name)
	}
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	for of, uid := range map[string]int{dir: user, filepath.Join(dir, "not there"): user, "/": 0} {
		if what, _, _ := strange(of, uid); what != "" {
			t.Errorf("%s, %d: %q", of, uid, what)
		}
	}
}

// Only a folder that is the program's own, or empty, is to be given to its user.
func TestOnlyAStateDirectoryIsToChangeItsOwner(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"empty", "device/identity.pem", "relay/names.db", "other/mail", "acme/acme", "keystay/mail"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for of, given := range map[string]bool{"/etc": false, "/usr/local": false, "/": false, filepath.Join(dir, "other"): false,
		filepath.Join(dir, "acme"):  false, // other programs have such a folder, too
		filepath.Join(dir, "empty"): true, filepath.Join(dir, "device"): true, filepath.Join(dir, "relay"): true, filepath.Join(dir, "keystay"): true} {
		err := notOwn(fs.ErrPermission, of, of, "root", "me")
		line := strings.Join(hint.All(err), "\n")
		if strings.Contains(line, "chown") != given || errors.Is(err, ErrOthers) == given || !errors.Is(err, fs.ErrPermission) || !strings.Contains(line, of+" belongs to root") {
			t.Errorf("%s: %v, %q", of, err, line)
		}
	}
	if line := strings.Join(hint.All(notOwn(fs.ErrPermission, "/etc", "/etc/lock", "root", "me")), ""); !strings.Contains(line, "chown -R me /etc/lock") {
		t.Errorf("what is in a folder of one's own: %q", line)
	}
}

// Not even a run that had one of the system's folders as its state directory makes it one
// to be given away.
func TestSystemFolderIsNoStateDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "identity.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for of, system := range map[string]bool{"/": true, "/etc": true, "/etc/": true, "/etc/ssl": true, "/lib64": true, "/var": true, "/var/lib": true, "/home": true, "/tmp": true,
		"/var/mail": true, "/var/tmp": true, "/var/local": true, "/var/opt/": true, "/var/run/user": true, "/var/spool/mail": true, "/var/lib/private": true, "/usr/local": true,
		"/var/lib/relay": false, "/var/lib/private/relay": false, "/var/lib/keystay": false, "/var/keystay": false, "/var/local/relay": false, "/var/tmp/relay": false,
		"/home/me": false, "/etc/keystay": false, "/data": false, "var/mail": false, "etc": false} {
		if isSystem(of) != system {
			t.Errorf("%s is the system's: %v", of, !system)
		}
	}
	t.Chdir(dir)
	const of = "/proc/self/cwd" // one of the system's by its name, with that file in it
	if _, err := os.Stat(filepath.Join(of, "identity.pem")); err != nil {
		t.Skip("only Linux has this folder: ", err)
	}
	if isState(of) {
		t.Error("a folder of the system's is taken for a state directory")
	}
}

// Nor is a folder one into which everybody may put the file by which one is told, or that
// nobody has put a file into yet.
func TestSharedFolderIsNoStateDirectory(t *testing.T) {
	for _, name := range []string{"", "identity.pem", "names.db"} {
		for mode, state := range map[fs.FileMode]bool{0o777 | fs.ModeSticky: false, 0o700 | fs.ModeSticky: true, 0o700: true} {
			for _, below := range []string{"shared", "keystay"} {
				dir := filepath.Join(t.TempDir(), below)
				err := os.Mkdir(dir, 0o700)
				if name != "" {
					err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
				}
				if err := errors.Join(err, os.Chmod(dir, mode)); err != nil {
					t.Fatal(err)
				}
				if isState(dir) != state {
					t.Errorf("%s with %q and %v: taken for one: %v", below, name, mode, !state)
				}
			}
		}
	}
}

// Nor is a folder to be closed that is there for everybody.
func TestSharedFolderIsNotToBeClosed(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]*hint.Advice{0o777 | fs.ModeSticky: hint.FolderShared, 0o777: hint.FolderOpen} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := hint.All(Exposed(dir)); !slices.Equal(got, want.With("DIR", dir)) {
			t.Errorf("%v: %q", mode, got)
		}
	}
}

// A file of another user, which root could change, stays as it is.
func TestProtectLeavesOtherUsersFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Chmod(file, 0o644), os.Chown(file, 54321, 54321)); err != nil {
		t.Fatal(err)
	}
	err := Protect(file)
	if info, serr := os.Stat(file); serr != nil || info.Mode() != 0o644 || err == nil {
		t.Errorf("mode %v, %v; %v", info.Mode(), serr, err)
	}
}
