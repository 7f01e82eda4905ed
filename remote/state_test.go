package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/hint"
	"keystay/internal/testnet"
)

// stateEnv holds, in a child process of TestStateOfManyProcesses, the directory
// that it opens.
const stateEnv = "KEYSTAY_TEST_REMOTE_STATE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(stateEnv); dir != "" {
		s, err := openState(dir)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("%x %d\n", s.key.Public(), s.run.Number)
		return
	}
	goleak.VerifyTestMain(m, testnet.Lingering())
}

func TestStateKeepsKeyAndCountsRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "state")
	first, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(2); i < 5; i++ {
		s, err := openState(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !s.key.Equal(first.key) || s.run.Number != i || s.run.ID == first.run.ID || s.run.ID == [16]byte{} {
			t.Errorf("start %d: the same key: %v, run %+v", i, s.key.Equal(first.key), s.run)
		}
	}
	if first.run.Number != 1 {
		t.Errorf("the first run has number %d", first.run.Number)
	}
	unlock, err := first.lockName("xyz.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := first.remember("xyz.relay.test", served{Relays: []string{"relay.test:8443"}, Named: true}); err != nil {
		t.Fatal(err)
	}
	if how, err := first.served("xyz.relay.test"); err != nil || how.Relays[0] != "relay.test:8443" || !how.Named || how.Run != 1 {
		t.Errorf("remembered %+v", how)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		fi, err := d.Info()
		if err == nil && fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		if strings.HasPrefix(d.Name(), ".new-") {
			t.Errorf("%s was left over", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A key that others could read is protected when it is used.
func TestIdentityIsProtected(t *testing.T) {
	dir := t.TempDir()
	if _, err := openState(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, identityFile)
	os.Chmod(file, 0o644)
	os.Chmod(dir, 0o755)
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if hints := strings.Join(hint.All(errors.Join(s.strays...)), "\n"); !strings.Contains(hints, "chmod 600 "+file) || !strings.Contains(hints, "chmod 700 "+dir) {
		t.Errorf("hints %q", hints)
	}
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
}

// A file that holds no identity is somebody else's: its mode stays.
func TestModeOfAFileWithoutIdentityStays(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	file := filepath.Join(dir, identityFile)
	for what, put := range map[string]func() error{
		"a link": func() error { return os.Symlink(other, file) },
		"a file": func() error { return os.Link(other, file) },
	} {
		os.Remove(file)
		if err := errors.Join(os.WriteFile(other, []byte("root:x:0:0\n"), 0o600), os.Chmod(other, 0o644), put()); err != nil {
			t.Fatal(err)
		}
		if _, err := openState(dir); err == nil {
			t.Errorf("%s is an identity", what)
		}
		if info, err := os.Stat(other); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: mode %v, %v", what, info.Mode(), err)
		}
	}
}

// An identity that is gone, where there was one, is not replaced in silence.
func TestLostIdentityIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for _, want := range []int{0, 0} {
		if s, err := openState(dir); err != nil || len(s.strays) != want {
			t.Fatalf("%v, %q", err, s.strays)
		}
	}
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	s, err := openState(dir)
	if err != nil || len(s.strays) != 1 || s.strays[0].Error() != "the identity is gone: a new one was made" {
		t.Errorf("%v, %q", err, s.strays)
	}
}

// An identity is read as other tools write it.
func TestIdentityWrittenByOthers(t *testing.T) {
	dir := t.TempDir()
	first, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, changed := range []string{"\ufeff" + string(text), strings.ReplaceAll(string(text), "\n", "\r\n"), "the device's key\n" + string(text), "  " + strings.ReplaceAll(string(text), "\n", "\n  ")} {
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := openState(dir); err != nil || !s.key.Equal(first.key) {
			t.Errorf("%q: %v", changed, err)
		}
	}
}

// Ten that start at once in a new directory get one identity and ten numbers.
func TestStateOfManyAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var wg sync.WaitGroup
	states := make([]*state, 10)
	for i := range states {
		wg.Go(func() {
			var err error
			if states[i], err = openState(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	numbers := make(map[uint64]bool)
	for _, s := range states {
		if s == nil || !s.key.Equal(states[0].key) {
			t.Fatal("another identity")
		}
		numbers[s.run.Number] = true
	}
	if len(numbers) != len(states) {
		t.Errorf("%d starts have %d numbers", len(states), len(numbers))
	}
}

func TestStateOfManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var wg sync.WaitGroup
	var mu sync.Mutex
	keys, numbers := make(map[string]bool), make(map[string]bool)
	for range 10 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), stateEnv+"="+dir)
			out, err := cmd.Output()
			key, number, _ := strings.Cut(string(out), " ")
			if err != nil {
				t.Errorf("%v: %s", err, out)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			keys[key], numbers[number] = true, true
		})
	}
	wg.Wait()
	if len(keys) != 1 || len(numbers) != 10 {
		t.Errorf("%d keys and %d numbers", len(keys), len(numbers))
	}
}

// What cannot be read is an error that says what to do, and is left as it is.
func TestBrokenStateIsLeftAsItIs(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"no PEM":            "noise",
		"empty":             "",
		"no key in it":      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("noise")})),
		"another kind":      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"cut in the middle": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw",
	} {
		for _, file := range []string{identityFile, runFile} {
			if file == runFile && content == "" {
				continue // as a file system that lost its last write leaves it
			}
			t.Run(file+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				if _, err := openState(dir); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, file)
				os.WriteFile(path, []byte(content), 0o600)
				if _, err := openState(dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(strings.Join(hint.All(err), "\n"), "remove it to begin") {
					t.Errorf("openState: %v", err)
				}
				if b, _ := os.ReadFile(path); string(b) != content {
					t.Errorf("it was overwritten by %q", b)
				}
			})
		}
	}
}

func TestStateDirErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := openState(filepath.Join(file, "below")); err == nil || !strings.Contains(strings.Join(hint.All(err), ""), "--state-dir") {
		t.Errorf("a folder below a file: %v", err)
	}
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, identityFile), 0o700)
	if _, err := openState(dir); err == nil {
		t.Error("a folder as the identity")
	}
	dir = t.TempDir()
	os.Mkdir(filepath.Join(dir, runFile), 0o700)
	if _, err := openState(dir); err == nil {
		t.Error("a folder as the run number")
	}
	s := &state{dir: dir}
	if err := s.write(runFile, nil); err == nil {
		t.Error("a file in the place of a folder")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// One process of a device serves a name; the other is told which one does.
func TestOneProcessServesAName(t *testing.T) {
	dir := t.TempDir()
	one, two := &state{dir: dir}, &state{dir: dir}
	unlock, err := one.lockName("xyz.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = two.lockName("xyz.relay.test")
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.Name != "xyz.relay.test" || inUse.PID != fmt.Sprint(os.Getpid()) {
		t.Errorf("locked twice: %v", err)
	}
	if !strings.Contains(err.Error(), inUse.PID) || strings.Contains((&InUseError{Name: "x"}).Error(), "process") {
		t.Errorf("errors read %q and %q", err, &InUseError{Name: "x"})
	}
	other, err := two.lockName("abc.relay.test")
	if err != nil {
		t.Errorf("another name: %v", err)
	} else {
		other()
	}
	unlock()
	again, err := two.lockName("xyz.relay.test")
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again()
}

// Every name that a relay may give is kept and locked, up to the longest: 253
// bytes. The file of a name that fits has the name itself.
func TestLongestNamesAreKept(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, n := range []int{249, 250, 251, 252, 253} {
		name := strings.Join([]string{label, label, label, strings.Repeat("b", n-3*64-len(".relay.test")), "relay.test"}, ".")
		if len(name) != n {
			t.Fatalf("the name has %d bytes, want %d", len(name), n)
		}
		s, err := openState(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		unlock, err := s.lockName(name)
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		var inUse *InUseError
		if _, err := s.lockName(name); !errors.As(err, &inUse) || inUse.Name != name || inUse.PID != strconv.Itoa(os.Getpid()) {
			t.Errorf("%d bytes, locked twice: %v", n, err)
		}
		unlock()
		if err := s.remember(name, served{Relays: []string{"relay.test"}, Service: "http://x"}); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if how, err := s.served(name); err != nil || how.Relays[0] != "relay.test" {
			t.Errorf("%d bytes: %+v, %v", n, how, err)
		}
		if last, err := s.lastName("http://x"); last != name || err != nil {
			t.Errorf("%d bytes: the last name is %q, %v", n, last, err)
		}
		if _, err := os.Stat(filepath.Join(s.dir, namesDir, name+".json")); (err == nil) != (n <= 250) {
			t.Errorf("%d bytes: the file with the name: %v", n, err)
		}
	}
}

// A state directory that is a link to what is not there is said to be that.
func TestStateDirectoryThatIsADanglingLink(t *testing.T) {
	at := filepath.Join(t.TempDir(), "state")
	if err := os.Symlink("/nowhere/keystay", at); err != nil {
		t.Skip(err)
	}
	for _, dir := range []string{at, filepath.Join(at, "below")} {
		_, err := openState(dir)
		_, shown := ShowIdentity(dir)
		for _, err := range []error{err, shown} {
			if err == nil || !strings.Contains(err.Error(), at+" is a symbolic link to /nowhere/keystay, which is not there") || !slices.Contains(hint.All(err), "make /nowhere/keystay, or lead "+at+" elsewhere; is what is to be there mounted?") {
				t.Errorf("%s: %v, %q", dir, err, hint.All(err))
			}
		}
	}
}

// A file that is a link to what is not there, as of a disk that is not mounted, is no
// file that is missing: a new one in its place would lose the names for good.
func TestFileThatIsADanglingLink(t *testing.T) {
	for _, name := range []string{identityFile, runFile} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		if err := os.Symlink("/nowhere/"+name, file); err != nil {
			t.Skip(err)
		}
		_, err := openState(dir)
		errs := []error{err}
		if name == identityFile {
			_, _, err := Identity(dir)
			_, shown := ShowIdentity(dir)
			_, peeked := PeekIdentity(dir)
			errs = append(errs, err, shown, peeked)
		}
		for i, err := range errs {
			if err == nil || !strings.Contains(err.Error(), file+" is a symbolic link to /nowhere/"+name+", which is not there") || !slices.Equal(hint.All(err), hint.LinkDangles.With("FILE", file, "TARGET", "/nowhere/"+name)) {
				t.Errorf("%s, %d: %v, %q", name, i, err, hint.All(err))
			}
		}
		if to, err := os.Readlink(file); err != nil || to != "/nowhere/"+name {
			t.Errorf("%s was replaced: %q, %v", name, to, err)
		}
	}
}

// Nor is a token that is kept, and what is known of a name.
func TestKeptFileThatIsADanglingLink(t *testing.T) {
	s := &state{dir: t.TempDir()}
	for _, name := range []string{tokenFile("relay.test"), servedFile("a.test")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(s.path(name)), 0o700), os.Symlink("/nowhere/x", s.path(name))); err != nil {
			t.Skip(err)
		}
	}
	_, token := s.keptToken("relay.test")
	_, name := s.served("a.test")
	for _, err := range []error{token, name} {
		if err == nil || !strings.Contains(err.Error(), "is a symbolic link to /nowhere/x, which is not there") {
			t.Error(err)
		}
	}
}
