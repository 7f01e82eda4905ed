package world

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// builds are what is built: a folder below e2e, the packages there, and whether
// they may have the race detector. The visitor's program may not: stories start it
// hundreds of times, and look at what it sees, not at itself.
var builds = []struct {
	dir, packages string
	race          bool
}{
	{"..", "./cmd/...", true},
	{".", "./internal/publish ./examples/...", true},
	{".", "./internal/visit", false},
}

// race are the flags for the race detector, the Makefile's.
var race = []string{"-race", "-gcflags=crypto/internal/fips140/...=-race=false", "-gcflags=golang.org/x/crypto/...=-race=false"}

// Programs builds the two real programs and the stories' own, once for all tests,
// and returns their folder. All but the visitor's have the race detector if the tests
// have it. Any user may run them.
var Programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "keystay-bin-"); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // a story runs them as another user
		return "", err
	}
	built = dir
	for _, b := range builds {
		args := []string{"build", "-o", dir + string(filepath.Separator)}
		if b.race && RaceEnabled {
			args = append(args, race...)
		}
		cmd := exec.Command("go", append(args, strings.Fields(b.packages)...)...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", b.packages, err, out)
		}
	}
	return dir, nil
})

// RaceOptions is the variable with the options of the race detector.
const RaceOptions = "GORACE"

// EndAtOnce lets programs that have the race detector end at once, if they get
// this process's RaceOptions: each would wait for a second at every good end. It
// is called once, at the start.
func EndAtOnce() { os.Setenv(RaceOptions, "atexit_sleep_ms=0 "+os.Getenv(RaceOptions)) }

// built is the folder that Programs has made, or empty.
var built string

// RemovePrograms removes what Programs has built. It is called once, at the end.
func RemovePrograms() {
	if built != "" {
		os.RemoveAll(built)
	}
}
