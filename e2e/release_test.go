package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Nothing is released without a signature, and nothing is touched then.
func TestReleaseWithoutAKeyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script, err := os.ReadFile("../deploy/release")
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"deploy", "dist"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "deploy", "release"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"":                         "hint: make one, once, with a passphrase: ssh-keygen -t ed25519",
		filepath.Join(dir, "none"): "none cannot be read",
	} {
		cmd := exec.Command("bash", filepath.Join(dir, "deploy", "release"))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "KEYSTAY_RELEASE_KEY=" + key}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("with key %q: %v\n%s", key, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "dist")); err != nil {
		t.Error(err)
	}
}

// The commit gets into the programs from git, from what git archive has filled in, or
// not at all: then they are built all the same.
func TestEachTreeKnowsItsCommit(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("../.git"); err != nil {
		t.Skip("this is no clone")
	}
	git := func(args ...string) string {
		out, err := exec.Command("git", append([]string{"-C", ".."}, args...)...).CombinedOutput()
		if err != nil {
			t.Skipf("git %s: %v\n%s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	head := git("rev-parse", "HEAD")
	tree := t.TempDir()
	tar := filepath.Join(t.TempDir(), "source.tar")
	git("archive", "-o", tar, "HEAD", "Makefile", "COMMIT")
	if out, err := exec.Command("tar", "-x", "-f", tar, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	commands := func(dir string) string {
		cmd := exec.Command("make", "-n", "build")
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	for _, dir := range []string{"..", tree} {
		if out := commands(dir); !strings.Contains(out, "cli.commit="+head) {
			t.Errorf("in %s:\n%s", dir, out)
		}
	}
	if err := os.Remove(filepath.Join(tree, "COMMIT")); err != nil {
		t.Fatal(err)
	}
	if out := commands(tree); !strings.Contains(out, `cli.version=devel -X keystay/internal/cli.commit="`) {
		t.Errorf("without git and COMMIT:\n%s", out)
	}
}
