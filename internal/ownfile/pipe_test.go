//go:build unix

package ownfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keystay/internal/ownfile"
)

// A named pipe in a file's place is an error: opening it would wait for a writer that
// never comes, and nothing would end the program meanwhile.
func TestPipeWithoutAWriterIsAnError(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ownfile.Read(pipe); !errors.Is(err, ownfile.ErrPipe) || !strings.Contains(err.Error(), pipe) {
		t.Errorf("Read: %v", err)
	}
	if err := ownfile.NoPipe(pipe); !errors.Is(err, ownfile.ErrPipe) {
		t.Errorf("NoPipe: %v", err)
	}
	for _, path := range []string{filepath.Dir(pipe), filepath.Join(filepath.Dir(pipe), "not there")} {
		if err := ownfile.NoPipe(path); err != nil {
			t.Errorf("NoPipe: %v", err)
		}
	}
}

// What a shell's <(…) hands over is a pipe, too, and is read to its end; also one whose
// writer comes a moment later.
func TestPipeWithAWriterIsRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("text of a pipe"), 0) }()
	b, info, err := ownfile.Load(pipe, 4)
	if string(b) != "text" || err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("%q, %v, %v", b, info, err)
	}
	if err := <-wrote; err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
}
