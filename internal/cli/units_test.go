package cli_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"keystay/internal/cli"
)

// unit reads the settings of a systemd unit, the values of each in their order.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = append(settings[key], strings.Fields(value)...)
		}
	}
	return settings
}

// crashVariable makes the test's own program crash.
const crashVariable = "KEYSTAY_TEST_CRASH"

// crashCode is the exit code of a program in which a goroutine has panicked.
func crashCode(t *testing.T) int {
	t.Helper()
	if os.Getenv(crashVariable) != "" {
		go panic("on purpose")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), crashVariable+"=1")
	var exit *exec.ExitError
	if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || !strings.Contains(string(out), "on purpose") {
		t.Fatalf("%v: %s", err, out)
	}
	return exit.ExitCode()
}

// The units start a program again after a crash, and not after the exit codes
// that say that starting again does not help.
func TestUnitsRestartAfterACrash(t *testing.T) {
	crash := crashCode(t)
	for name, final := range map[string][]int{
		"keystay-relay.service":  nil,
		"keystay-remote.service": {cli.ExitRefused, 4, cli.ExitReplaced}, // 4 is for an interception
	} {
		u := unit(t, name)
		if got := u["Restart"]; !slices.Equal(got, []string{"on-failure"}) {
			t.Errorf("%s: Restart=%v", name, got)
		}
		prevented := make(map[int]bool)
		for _, s := range append(u["RestartPreventExitStatus"], u["SuccessExitStatus"]...) {
			code, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			prevented[code] = true
		}
		if prevented[crash] || prevented[cli.ExitFailed] {
			t.Errorf("%s: a crash ends with %d, a failure with %d; no restart after %v", name, crash, cli.ExitFailed, prevented)
		}
		if got := slices.Sorted(maps.Keys(prevented)); !slices.Equal(got, final) {
			t.Errorf("%s: no restart after %v, want %v", name, got, final)
		}
	}
}

// What cannot start at all is given up, but not before it had time: for a disk
// that comes late, or for somebody who mends the configuration.
func TestUnitsGiveUpInTheEnd(t *testing.T) {
	seconds := func(list []string) time.Duration {
		d, err := time.ParseDuration(strings.Join(list, ""))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, name := range []string{"keystay-relay.service", "keystay-remote.service"} {
		u := unit(t, name)
		burst, err := strconv.Atoi(strings.Join(u["StartLimitBurst"], ""))
		if err != nil {
			t.Fatal(err)
		}
		tries, within := time.Duration(burst)*seconds(u["RestartSec"]), seconds(u["StartLimitIntervalSec"])
		if tries < 10*time.Minute || tries > within {
			t.Errorf("%s: %d starts take %v, within %v", name, burst, tries, within)
		}
	}
}
