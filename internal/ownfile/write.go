package ownfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What Write has begun is called unfinished, as much of the file's name as unfinishedPart,
// "-" and a number. Versions from before have left the name and the "-" out.
const (
	unfinished     = ".new-"
	unfinishedPart = 64 // bytes; some file systems take no more than 143 in all
)

// unfinishedAge is the age from which on no program that runs is writing what it has begun.
const unfinishedAge = time.Hour

// Write replaces a file as a whole, with mode 0600: a crash leaves the old one
// or the new one, and once Write has returned nil, losing power does not bring
// the old one back. A symbolic link to nothing is not replaced, since what it led to
// may only be away.
func Write(file string, b []byte) error {
	dir := filepath.Dir(file)
	if link := Dangling(file); link != nil {
		return fmt.Errorf("write %s: %w", file, link)
	}
	f, err := begin(file)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err == nil {
		err = SyncDir(dir)
	} else {
		os.Remove(f.Name())
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// begin makes the file, with mode 0600, that is to take the place of another one.
func begin(file string) (*os.File, error) {
	name := filepath.Base(file)
	return os.CreateTemp(filepath.Dir(file), unfinished+strings.ToValidUTF8(name[:min(len(name), unfinishedPart)], "")+"-*")
}

// Sweep removes from a folder what Write has begun there in a process that was killed, and
// which may hold a key: whatever was begun an hour ago, and what is of a file that is locked,
// which the caller says that nobody else is writing now. It is asked by the name of the file,
// or the first 64 bytes of it; "" is any file, of an older version of the program. Locked may
// be nil. What cannot be looked at or removed stays.
func Sweep(dir string, locked func(name string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, is := unfinishedOf(e.Name())
		if !is || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if locked != nil && locked(name) || err == nil && time.Since(info.ModTime()) > unfinishedAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// SweepTree is Sweep for a folder, which may be a symbolic link, and all that are in it. No
// file in them counts as locked.
func SweepTree(dir string) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return
	}
	_ = filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			Sweep(at, nil)
		}
		return nil
	})
}

// unfinishedOf returns of which file this is one that begin has made, if it is one.
func unfinishedOf(begun string) (name string, is bool) {
	rest, is := strings.CutPrefix(begun, unfinished)
	name = strings.TrimRight(rest, "0123456789")
	if !is || name == rest {
		return "", false
	}
	if name == "" {
		return "", true
	}
	return strings.CutSuffix(name, "-")
}
