package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"keystay/internal/ownfile"
)

// writeOwned writes a file of the owner's into a folder of the owner's, with mode 0600. One
// that is there and differs becomes the old one.
func writeOwned(dir, name string, b []byte, u *user.User) error {
	root, err := os.OpenRoot(dir) // what the owner has put there leads nowhere else
	if err != nil {
		return err
	}
	defer root.Close()
	was, err := root.ReadFile(name)
	if err == nil && string(was) == string(b) {
		return nil
	}
	if err == nil {
		if err := root.Rename(name, name+".old"); err != nil {
			return err
		}
	}
	fresh := name + ".new"
	_ = root.Remove(fresh)
	f, err := root.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := give(f.Chown, u); err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return root.Rename(fresh, name)
}

// makeOwned makes a folder of the owner's, with those above it that are missing.
func makeOwned(dir string, u *user.User) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("the state directory %s is no folder", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if above := filepath.Dir(dir); above != dir {
		if err := makeOwned(above, u); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return give(func(uid, gid int) error { return os.Lchown(dir, uid, gid) }, u)
}

// give makes something that root has made the user's.
func give(chown func(uid, gid int) error, u *user.User) error {
	if os.Geteuid() != 0 {
		return nil // it is the user's
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return chown(uid, gid)
}

// userOf returns the name of the user whose a file or folder is, or "" where there is none
// or the system does not tell.
func userOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	uid, ok := ownfile.Owner(info)
	if !ok {
		return ""
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return strconv.Itoa(uid)
	}
	return u.Username
}
