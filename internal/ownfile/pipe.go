package ownfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// ErrPipe is what is wrong with a named pipe that stands in a file's place. To open it
// could wait for ever, and be ended by no signal.
var ErrPipe = errors.New("is a named pipe, not a file")

// pipeWait is how long the writer of a pipe may take to come, and pipePoll how often it
// is looked for.
const pipeWait, pipePoll = 2 * time.Second, 10 * time.Millisecond

// NoPipe returns an error that wraps ErrPipe where path is a named pipe. It is for files
// that are then opened by others, or to be written; a path where nothing is, or which
// cannot be looked at, is fine.
func NoPipe(path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return &fs.PathError{Op: "open", Path: path, Err: ErrPipe}
	}
	return nil
}

// Load returns up to limit bytes of a file as they are, or all of it where limit is 0,
// and what it is. A pipe is read as well, as of a shell's <(…); where nobody comes to
// write into it the error wraps ErrPipe.
func Load(file string, limit int64) (b []byte, info fs.FileInfo, err error) {
	if info, err := os.Stat(file); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		b, err := loadPipe(file, limit)
		return b, info, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	b, err = readUpTo(f, limit)
	return b, info, err
}

// loadPipe is Load for a pipe. As long as it has no writer, what is read is its end.
func loadPipe(file string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for begun := time.Now(); time.Since(begun) < pipeWait; <-time.After(pipePoll) {
		if b, err := readUpTo(f, limit); len(b) > 0 || err != nil {
			return b, err
		}
	}
	return nil, &fs.PathError{Op: "read", Path: file, Err: ErrPipe}
}

func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	if limit > 0 {
		r = io.LimitReader(r, limit)
	}
	return io.ReadAll(r)
}
