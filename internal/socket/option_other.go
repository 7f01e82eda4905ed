//go:build !linux

package socket

import "time"

func setUserTimeout(uintptr, time.Duration) {}

func setUnsent(uintptr, int) {}

func retransmits(uintptr) int { return 0 }
