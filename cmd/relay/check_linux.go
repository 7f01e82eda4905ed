package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mayWrite returns why this user may not write a folder and look into it, or nil.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// maxDescriptors is how many files and sockets a process may have open at the most; 0 is
// this one.
func maxDescriptors(pid int) (n int, ok bool) {
	self := "self"
	if pid != 0 {
		self = strconv.Itoa(pid)
	}
	b, err := os.ReadFile("/proc/" + self + "/limits")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if rest, found := strings.CutPrefix(line, "Max open files"); found {
			var soft, hard string
			_, err = fmt.Sscan(rest, &soft, &hard)
			if hard == "unlimited" {
				return 1 << 30, true
			}
			n, nerr := strconv.Atoi(hard)
			return n, err == nil && nerr == nil
		}
	}
	return 0, false
}

// sysctl returns a setting of the kernel.
func sysctl(key string) (string, bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
	return strings.TrimSpace(string(b)), err == nil
}
