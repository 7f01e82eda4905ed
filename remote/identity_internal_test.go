package remote

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"keystay/internal/hint"
)

const passphrase = "correct horse"

// A stateDir is one with an identity that has served names.
func newStateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.lockName("app.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	for name, how := range map[string]served{
		"app.relay.test":   {Relays: []string{"Relay.test:8443"}, Named: true, Service: "http://127.0.0.1:3000"},
		"www.example.test": {Relays: []string{"relay.test:8443", "other.test"}, Named: true},
	} {
		if err := s.remember(name, how); err != nil {
			t.Fatal(err)
		}
	}
	if err := KeepToken(dir, "relay.test", "token"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"acme/certificates/ca/app.relay.test/app.relay.test.crt": "certificate",
		"acme/certificates/ca/app.relay.test/app.relay.test.key": "key",
		"acme/acme/ca/users/default/default.key":                 "account",
		"acme/locks/issue_cert_app.relay.test.lock":              "",
		"acme/certificates/ca/.new-123":                          "half",
		"gate/key":                                               "gate's key",
		"gate/lock":                                              "",
		"transport":                                              "of this network",
		"somebody's":                                             "file",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree returns the files below a folder, with what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, file)
		b, err := os.ReadFile(file)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	delete(all, lockFile)
	return all
}

// export exports at little cost.
func export(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := exportIdentity(dir, &b, passphrase, 1); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is imported is what was exported, but for locks and what belongs to the other
// machine, readable for its user alone; and its runs replace those from before.
func TestImportHasWhatWasExported(t *testing.T) {
	from, to := newStateDir(t), filepath.Join(t.TempDir(), "a", "b")
	info, aside, err := ImportIdentity(to, bytes.NewReader(export(t, from)), passphrase, false)
	if err != nil || aside != "" {
		t.Fatal(aside, err)
	}
	want := tree(t, from)
	for _, name := range []string{"names/app.relay.test.lock", "names/app.relay.test.pid", "acme/locks/issue_cert_app.relay.test.lock",
		"acme/certificates/ca/.new-123", "gate/lock", "transport", rememberLock, "somebody's"} {
		if _, there := want[name]; !there {
			t.Errorf("there was no %s", name)
		}
		delete(want, name)
	}
	want[runFile] = fmt.Sprint(1 + exportRuns)
	if got := tree(t, to); !maps.Equal(got, want) {
		t.Errorf("imported %q\nwant %q", got, want)
	}
	filepath.WalkDir(to, func(file string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
		return err
	})
	before, err := ShowIdentity(from)
	before.StateDir, before.Run = to, 1+exportRuns
	if err != nil || fmt.Sprint(before) != fmt.Sprint(info) {
		t.Errorf("imported %+v, want %+v, %v", info, before, err)
	}
	s, err := openState(to)
	if err != nil || s.run.Number != 2+exportRuns {
		t.Errorf("run %d, %v", s.run.Number, err)
	}
}

// A secret that is mounted is a symbolic link, and is exported all the same.
func TestLinksAreExported(t *testing.T) {
	from, elsewhere := newStateDir(t), t.TempDir()
	for _, name := range []string{identityFile, acmeDir} {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(elsewhere, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(elsewhere, name), filepath.Join(from, name)); err != nil {
			t.Skip(err)
		}
	}
	to := t.TempDir()
	if _, _, err := ImportIdentity(to, bytes.NewReader(export(t, from)), passphrase, false); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, to)["acme/acme/ca/users/default/default.key"]; got != "account" {
		t.Errorf("the account's key is %q", got)
	}
}

// seal encrypts a tar archive with these files, as an export is.
func seal(t *testing.T, files ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(1)
	w, err := age.Encrypt(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	a := tar.NewWriter(w)
	for _, h := range files {
		text := h.Linkname
		if h.Typeflag == 0 {
			h.Typeflag, h.Size, h.Linkname = tar.TypeReg, int64(len(text)), ""
		} else {
			text = ""
		}
		if err := a.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(a, text)
	}
	if err := errors.Join(a.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever is no whole export changes nothing, and says what to do.
func TestOnlyAWholeExportIsImported(t *testing.T) {
	good := export(t, newStateDir(t))
	other := []byte(newKeyFile(t))
	head := &tar.Header{Name: exportHead, Linkname: `{"version":1}`}
	key := func() *tar.Header { return &tar.Header{Name: identityFile, Linkname: string(other)} }
	with := func(h ...*tar.Header) []byte {
		first := *head
		return seal(t, append([]*tar.Header{&first, key()}, h...)...)
	}
	file := func(name string) []byte { return with(&tar.Header{Name: name, Linkname: "x"}) }
	bad := map[string][]byte{
		"nothing":            nil,
		"no age file":        []byte("age-encryption.org/v2\nwhatever\n"),
		"a text":             []byte(strings.Repeat("hello\n", 1000)),
		"cut in its head":    good[:40],
		"without its end":    good[:len(good)-1],
		"more behind":        append(slices.Clone(good), 0),
		"empty":              seal(t),
		"another archive":    seal(t, key()),
		"another version":    seal(t, &tar.Header{Name: exportHead, Linkname: `{"version":2}`}, key()),
		"without a key":      seal(t, &tar.Header{Name: exportHead, Linkname: `{"version":1}`}),
		"with a bad key":     seal(t, &tar.Header{Name: exportHead, Linkname: `{"version":1}`}, &tar.Header{Name: identityFile, Linkname: "-----"}),
		"upwards":            file("../" + identityFile),
		"upwards in a name":  file("names/../../x.json"),
		"to the root":        file("/etc/passwd"),
		"by a drive":         file("C:/x"),
		"a drive below":      file("names/C:x"),
		"a backslash":        file(`names\..\..\x`),
		"a name of its own":  file("authorized_keys"),
		"a folder's own":     file("names"),
		"a lock":             file("names/x.lock"),
		"hidden":             file("names/.x"),
		"empty parts":        file("names//x.json"),
		"dots":               file("names/./x.json"),
		"too deep":           file("acme/" + strings.Repeat("a/", 20) + "x"),
		"too long":           file("names/" + strings.Repeat("a", 300)),
		"twice":              file(identityFile),
		"twice but for case": with(&tar.Header{Name: "names/x.json", Linkname: "1"}, &tar.Header{Name: "names/X.json", Linkname: "2"}),
		"a file and folder":  with(&tar.Header{Name: "acme/x", Linkname: "1"}, &tar.Header{Name: "acme/x/y", Linkname: "2"}),
		"apart":              with(&tar.Header{Name: "acme/x", Linkname: "1"}, &tar.Header{Name: "acme/x-1", Linkname: "2"}, &tar.Header{Name: "acme/x/y", Linkname: "3"}),
		"a link":             with(&tar.Header{Name: "names/x.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}),
		"a hard link":        with(&tar.Header{Name: "names/x.json", Typeflag: tar.TypeLink, Linkname: identityFile}),
		"a pipe":             with(&tar.Header{Name: "names/x.json", Typeflag: tar.TypeFifo}),
		"no run number":      with(&tar.Header{Name: runFile, Linkname: "many"}),
		"the last run":       with(&tar.Header{Name: runFile, Linkname: "18446744073709551615"}),
		"no run after it":    with(&tar.Header{Name: runFile, Linkname: "18446744073708503039"}),
	}
	for i := 0; i < len(good); i += 1 + len(good)/40 {
		broken := slices.Clone(good)
		broken[i] ^= 0x10
		bad[fmt.Sprintf("a bit at %d", i)] = broken
	}
	dir := newStateDir(t)
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for name, b := range bad {
		_, _, err := ImportIdentity(dir, bytes.NewReader(b), passphrase, false)
		if !errors.Is(err, ErrImport) || len(hint.All(err)) == 0 {
			t.Errorf("%s: %v, hints %q", name, err, hint.All(err))
		}
		if after := tree(t, dir); !maps.Equal(before, after) {
			t.Fatalf("%s: there is %q now", name, after)
		}
	}
	_, _, err := ImportIdentity(dir, bytes.NewReader(good), "correct house", false)
	if !errors.Is(err, ErrImport) || !slices.Equal(hint.All(err), hint.ExportPassphrase.Do) {
		t.Errorf("another passphrase: %v", err)
	}
	if after := tree(t, dir); !maps.Equal(before, after) {
		t.Errorf("another passphrase: there is %q now", after)
	}
}

// An export that is larger than any is not read to its end.
func TestTooLargeExport(t *testing.T) {
	b := seal(t, &tar.Header{Name: exportHead, Linkname: `{"version":1}`}, &tar.Header{Name: "acme/x", Linkname: strings.Repeat("x", maxExport)})
	dir := t.TempDir()
	if _, _, err := ImportIdentity(dir, bytes.NewReader(b), passphrase, false); !errors.Is(err, ErrImport) || !strings.Contains(err.Error(), "larger") {
		t.Error(err)
	}
}

func newKeyFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := openState(dir); err != nil {
		t.Fatal(err)
	}
	return tree(t, dir)[identityFile]
}

// An identity that is there is not overwritten. With replace all of it is kept aside,
// and nothing of it counts any more.
func TestIdentityThatIsThereIsKept(t *testing.T) {
	b, dir := export(t, newStateDir(t)), newStateDir(t)
	before := tree(t, dir)
	_, _, err := ImportIdentity(dir, bytes.NewReader(b), passphrase, false)
	if !errors.Is(err, ErrImport) || !slices.Equal(hint.All(err), hint.IdentityThere.Do) || !maps.Equal(before, tree(t, dir)) {
		t.Errorf("%v; there is %q", err, tree(t, dir))
	}
	s := &state{dir: dir}
	unlock, err := s.lockName("app.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	before = tree(t, dir)
	if _, _, err = ImportIdentity(dir, bytes.NewReader(b), passphrase, true); !errors.Is(err, ErrImport) || !maps.Equal(before, tree(t, dir)) {
		t.Errorf("while a name is served: %v; there is %q", err, tree(t, dir))
	}
	unlock()
	_, aside, err := ImportIdentity(dir, bytes.NewReader(b), passphrase, true)
	if err != nil || aside != filepath.Join(dir, "replaced-1") {
		t.Fatal(aside, err)
	}
	old := tree(t, aside)
	if old[identityFile] != before[identityFile] || old["gate/key"] == "" || old["tokens/relay.test"] != before["tokens/relay.test"] {
		t.Errorf("aside is %q", old)
	}
	if now := tree(t, dir); now[identityFile] == before[identityFile] || now["somebody's"] != "file" {
		t.Errorf("there is %q", now)
	}
}

// What was kept before there was an identity, such as a token, stays beside it.
func TestImportKeepsWhatIsThereWithoutAnIdentity(t *testing.T) {
	dir := t.TempDir()
	if err := KeepToken(dir, "third.test", "mine"); err != nil {
		t.Fatal(err)
	}
	if err := KeepToken(dir, "relay.test", "older"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ImportIdentity(dir, bytes.NewReader(export(t, newStateDir(t))), passphrase, false); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); got["tokens/third.test"] != "mine\n" || got["tokens/relay.test"] != "token\n" {
		t.Errorf("there is %q", got)
	}
}

// steps are what finishes an import, one rename after the other.
func steps(s *state, aside string, there []string) (all []func() error) {
	rename := func(from, to string) {
		all = append(all, func() error { return os.Rename(s.path(from), s.path(to)) })
	}
	all = append(all, func() error { return os.MkdirAll(s.path(aside), 0o700) })
	for _, name := range there {
		rename(name, filepath.Join(aside, name))
	}
	rename(importReady, importAside)
	for _, name := range []string{identityFile, namesDir, runFile} {
		rename(filepath.Join(importAside, name), name)
	}
	return all
}

// Wherever an import breaks off, there is all of the old identity or all of the new.
func TestImportThatBreaksOffIsFinishedOrHasNotBegun(t *testing.T) {
	b := export(t, newStateDir(t))
	var whole map[string]string
	for n := -2; ; n++ {
		dir := t.TempDir()
		for name, text := range tree(t, newStateDir(t)) {
			write(t, filepath.Join(dir, name), text)
		}
		old := tree(t, dir)
		files, err := openExport(bytes.NewReader(b), passphrase)
		if err != nil {
			t.Fatal(err)
		}
		s := &state{dir: dir}
		there := s.present()
		if n == -2 { // while it is written
			if err := s.writeStaged(files[:len(files)/2]); err != nil {
				t.Fatal(err)
			}
			if _, err := ShowIdentity(dir); err != nil {
				t.Fatal(err)
			}
			if now := tree(t, dir); now[identityFile] != old[identityFile] {
				t.Error("half an import counts")
			}
			continue
		}
		aside, err := s.stage(files, true)
		if err != nil {
			t.Fatal(err)
		}
		do := steps(s, aside, there)
		if n > len(do) {
			break
		}
		for _, step := range do[:max(n, 0)] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if _, how, err := s.choose(Name{Domain: "app.relay.test"}); err != nil || len(how.Relays) != 1 { // which a start does first
			t.Errorf("after %d steps: %+v, %v", n, how, err)
		}
		now := tree(t, dir)
		if n < 0 {
			whole = now
		}
		for name := range now {
			if strings.HasPrefix(name, ".import") {
				t.Errorf("after %d steps %s is left", n, name)
			}
		}
		if now[identityFile] != whole[identityFile] || now[runFile] != whole[runFile] || now["replaced-1/"+identityFile] != old[identityFile] || len(now) != len(whole) {
			t.Errorf("after %d steps there is %q", n, slices.Sorted(maps.Keys(now)))
		}
	}
}

// Nothing is made where there is no identity.
func TestNoIdentityIsMadeToShowIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, show := ShowIdentity(dir)
	_, rotate := RotateIdentity(dir, true)
	for _, err := range []error{show, rotate, ExportIdentity(dir, io.Discard, passphrase)} {
		if !errors.Is(err, ErrNoIdentity) {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	if err := ExportIdentity(newStateDir(t), io.Discard, "short"); err == nil {
		t.Error("a short passphrase was taken")
	}
}

// Whatever an archive holds, what is read of it lies below the state directory, each
// once, and is no more than an export may be.
func FuzzArchive(f *testing.F) {
	var b bytes.Buffer
	if err := writeArchive(&b, "label", []stateFile{{identityFile, []byte("key")}, {"names/x.json", []byte("{}")}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(bytes.ReplaceAll(b.Bytes(), []byte("names/"), []byte("../x//")))
	f.Fuzz(func(t *testing.T, p []byte) {
		files, err := readArchive(bytes.NewReader(p))
		if err != nil {
			return
		}
		seen, total := make(map[string]bool), 0
		for _, file := range files {
			path := filepath.Join("/state", filepath.FromSlash(file.name))
			if !strings.HasPrefix(path, "/state/") || seen[path] || !isExported(file.name) {
				t.Errorf("it holds %q", file.name)
			}
			seen[path] = true
			total += len(file.data)
		}
		if total > maxExport || len(files) > maxExported {
			t.Errorf("%d files of %d bytes", len(files), total)
		}
	})
}
