//go:build unix

package config_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe that nobody writes into holds no start up, as a file of settings or as a secret;
// one that a shell writes into is read.
func TestPipesAreReadOrTold(t *testing.T) {
	dir := inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nnames: {policy: token}\ntokens: [{secret_file: pipe, names: [xyz.relay.test]}]\n"})
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const advice = "hint: nobody writes into pipe: put a file in its place, or move it away where it is one that this program makes"
	_, _, err := loadRelay(t, "--config=pipe")
	wantText(t, err, "pipe: cannot read the file: is a named pipe, not a file\n"+advice)
	_, _, err = loadRelay(t, "--config=relay.yaml")
	wantText(t, err, "relay.yaml:3: tokens[0].secret_file: cannot read \"pipe\": is a named pipe, not a file\n"+advice)

	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("domain: of.a.pipe.test\n"), 0) }()
	r, _, err := loadRelay(t, "--config=pipe")
	if err != nil || r.Domain != "of.a.pipe.test" {
		t.Errorf("%+v, %v", r, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
