//go:build unix

package ownfile

import (
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// ownerOf returns the user that a file or folder belongs to, if it can be seen.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// userName returns the name of a user, or the number of one without a name.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}
