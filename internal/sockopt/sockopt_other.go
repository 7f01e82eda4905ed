//go:build !linux

package sockopt

import "time"

func setUserTimeout(uintptr, time.Duration) {}

func setUnsent(uintptr, int) {}

func retransmits(uintptr) int { return 0 }
