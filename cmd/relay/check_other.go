//go:build !linux

package main

// mayWrite is not looked at here.
func mayWrite(string) error { return nil }

// maxDescriptors is not known here.
func maxDescriptors(int) (int, bool) { return 0, false }

// sysctl is not looked at here.
func sysctl(string) (string, bool) { return "", false }
