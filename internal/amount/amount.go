// Package amount reads amounts as people write them in configuration: bytes with a
// unit, rates, and "off" for no limit; and shows bytes to people.
package amount

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Off is what each function here returns for "off": no limit.
const Off = -1

// maxCount is the largest number that counts something.
const maxCount = 1_000_000_000

// The units of bytes. An amount without one is in bytes.
var units = []struct {
	name string
	size int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50}, {"B", 1}}

// The times of rates.
var times = []struct {
	name string
	per  time.Duration
}{{"/s", time.Second}, {"/min", time.Minute}, {"/h", time.Hour}, {"/day", 24 * time.Hour}}

// Count reads a number from 1 to a thousand million, or off.
func Count(s string) (int, error) {
	if s == "off" {
		return Off, nil
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return 0, errors.New("is no whole number, and not off")
	case n < 1:
		return 0, errors.New("is too little: 1 at least, or off for no limit")
	case n > maxCount:
		return 0, fmt.Errorf("is too much: %d at most, or off for no limit", maxCount)
	}
	return n, nil
}

// Rate reads a number in a time, as in 50/s, 20/min, 100/h or 200/day, or off.
func Rate(s string) (count int, per time.Duration, err error) {
	if s == "off" {
		return Off, time.Second, nil
	}
	for _, t := range times {
		if n, ok := strings.CutSuffix(s, t.name); ok {
			count, err = Count(n)
			if count == Off {
				err = errors.New("is no rate")
			}
			return count, t.per, err
		}
	}
	return 0, 0, errors.New("has no time: /s, /min, /h or /day")
}

// Bytes reads an amount as in 512MiB or 2TiB, at least least, or off. Without a unit
// it is bytes.
func Bytes(s string, least int64) (int64, error) {
	if s == "off" {
		return Off, nil
	}
	digits, unit := s, int64(1)
	for _, u := range units {
		if d, ok := strings.CutSuffix(s, u.name); ok {
			digits, unit = d, u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || n < 0 || n > math.MaxInt64/unit:
		return 0, errors.New("is no amount of bytes, and not off")
	case n*unit < least:
		return 0, fmt.Errorf("is too little: %s at least, or off for no limit", Text(least))
	}
	return n * unit, nil
}

// Bandwidth reads bytes a second, as in 10MiB/s, at least least, or off.
func Bandwidth(s string, least int64) (int64, error) {
	if s == "off" {
		return Off, nil
	}
	n, ok := strings.CutSuffix(s, "/s")
	if !ok {
		return 0, errors.New("is no bandwidth: bytes with /s behind them")
	}
	b, err := Bytes(n, least)
	if b == Off {
		err = errors.New("is no bandwidth")
	}
	return b, err
}

// Text writes bytes as Bytes reads them, in the largest unit that fits.
func Text(n int64) string {
	for i := len(units) - 2; i >= 0; i-- {
		if u := units[i]; n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// Rounded is a number of bytes as pages show it to people, as in 512 B, 1.5 KiB or 230 MiB.
// Bytes may not read it.
func Rounded(n int64) string {
	names := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(names)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, names[i])
	}
	return fmt.Sprintf("%.1f %s", f, names[i])
}
