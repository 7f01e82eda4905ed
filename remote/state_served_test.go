package remote

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/hint"
)

// twoNames is a state directory from which two names were served, each with a
// service.
func twoNames(t *testing.T) *state {
	t.Helper()
	s, err := openState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path(namesDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, service := range map[string]string{"one.relay.test": "http://1", "two.relay.test": "http://2"} {
		if err := s.remember(name, served{Relays: []string{"relay.test"}, Named: true, Service: service}); err != nil {
			t.Fatal(err)
		}
	}
	s.strays = nil
	return s
}

// What is stored of a name and is damaged is no name that was never served: no
// other one is taken for the last, the owner hears of it, and it is kept.
func TestDamagedServedFile(t *testing.T) {
	whole := `{"relays":["relay.test"],"named":true,"made":false,"service":"http://1","run":1}`
	for what, content := range map[string]string{
		"empty": "", "noise": "\x00\xff", "cut": whole[:40], "another kind": "[]", "null": "null",
		"no relay": `{"relays":[]}`, "an empty relay": `{"relays":[""]}`, "too long": whole + strings.Repeat(" ", maxServedFile),
	} {
		t.Run(what, func(t *testing.T) {
			s := twoNames(t)
			file := s.path(servedFile("one.relay.test"))
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var damaged *DamagedError
			if name, _, err := s.choose(Name{Service: "http://1"}); !errors.As(err, &damaged) || damaged.Name != "one.relay.test" || damaged.File != file {
				t.Errorf("with the service of the damaged name: %q, %v", name, err)
			}
			if hints := strings.Join(hint.All(damaged), "\n"); !strings.Contains(hints, "--domain one.relay.test --relay RELAY") || !strings.Contains(hints, file) {
				t.Errorf("hints %q", hints)
			}
			if name, _, err := s.choose(Name{Service: "http://2"}); name != "two.relay.test" || err != nil || len(s.strays) != 1 || !errors.As(s.strays[0], &damaged) {
				t.Errorf("with the service of the other name: %q, %v, %q", name, err, s.strays)
			}
			s.strays = nil
			if name, how, err := s.choose(Name{Domain: "one.relay.test"}); name != "one.relay.test" || len(how.Relays) > 0 || err != nil || len(s.strays) != 1 {
				t.Errorf("with the name: %q, %v, %v, %q", name, how, err, s.strays)
			}
			if name, how, err := s.choose(Name{Domain: "one.relay.test", Relays: []string{"new.test"}}); name != "one.relay.test" || how.Relays[0] != "new.test" || err != nil {
				t.Errorf("with name and relay: %q, %v, %v", name, how, err)
			}
			if b, err := os.ReadFile(file); string(b) != content || err != nil {
				t.Errorf("before anything was served: %q, %v", b, err)
			}
			if err := s.remember("one.relay.test", served{Relays: []string{"new.test"}}); err != nil {
				t.Error(err)
			}
			if how, err := s.served("one.relay.test"); err != nil || how.Relays[0] != "new.test" {
				t.Errorf("anew: %v, %v", how, err)
			}
			if b, err := os.ReadFile(file + ".damaged"); string(b) != content || err != nil {
				t.Errorf("the damaged one: %q, %v", b, err)
			}
		})
	}
}

// What cannot be read is not what is not there.
func TestServedFileThatCannotBeRead(t *testing.T) {
	s := twoNames(t)
	file := s.path(servedFile("one.relay.test"))
	if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Name{{Service: "http://1"}, {Domain: "one.relay.test"}} {
		if name, _, err := s.choose(cfg); err == nil || !strings.Contains(err.Error(), filepath.Base(file)) || len(hint.All(err)) == 0 {
			t.Errorf("%+v: %q, %v", cfg, name, err)
		}
	}
}

// Where something else lies in the place of a file or folder, the rights are not
// to blame.
func TestObstaclesInTheStateDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inPlaceOf := func(name string) (dir string) {
		dir = t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for what, dir := range map[string]string{
		"a file in the place of the folder": file, "a file above it": filepath.Join(file, "x"), "too long a name": filepath.Join(filepath.Dir(file), strings.Repeat("a", 300)),
		"a folder in the place of the identity": inPlaceOf(identityFile), "a folder in the place of the run": inPlaceOf(runFile), "a folder in the place of the lock": inPlaceOf(lockFile),
	} {
		_, err := openState(dir)
		if hints := strings.Join(hint.All(err), "\n"); !strings.Contains(hints, "move it away") || strings.Contains(hints, "writable") {
			t.Errorf("%s: %v, hints %q", what, err, hints)
		}
	}
}
