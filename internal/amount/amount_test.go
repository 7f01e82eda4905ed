package amount_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/amount"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A read is what became of a text: a number, or an error.
func is(t *testing.T, what, s string, got int64, err error, want int64) {
	t.Helper()
	if wrong := err != nil; wrong != (want == 0) || !wrong && got != want {
		t.Errorf("%s %q is %d, %v; want %d", what, s, got, err, want)
	}
}

// 0 stands for an error.
func TestAmounts(t *testing.T) {
	for s, want := range map[string]int64{"1": 1, "1000000000": 1e9, "off": amount.Off,
		"0": 0, "-1": 0, "1000000001": 0, "": 0, "1.5": 0, "10/s": 0, "1e3": 0, "Off": 0, " 1": 0} {
		n, err := amount.Count(s)
		is(t, "count", s, int64(n), err, want)
	}
	for s, want := range map[string]int64{"64KiB": 64 << 10, "1MiB": 1 << 20, "500GiB": 500 << 30, "8191PiB": 8191 << 50, "1048576": 1 << 20, "70000B": 70000, "off": amount.Off,
		"8192PiB": 0, "64kib": 0, "1KiB": 0, "-5MiB": 0, "MiB": 0, "": 0, "1MB": 0, "9223372036854775808": 0} {
		n, err := amount.Bytes(s, 64<<10)
		is(t, "bytes", s, n, err, want)
	}
	for s, want := range map[string]int64{"10MiB/s": 10 << 20, "off": amount.Off, "10MiB": 0, "1B/s": 0, "off/s": 0, "/s": 0} {
		n, err := amount.Bandwidth(s, 64<<10)
		is(t, "bandwidth", s, n, err, want)
	}
}

func TestRate(t *testing.T) {
	for s, want := range map[string]time.Duration{"50/s": time.Second, "1/min": time.Minute, "7/h": time.Hour, "200/day": 24 * time.Hour, "off": time.Second,
		"50": 0, "50/d": 0, "/s": 0, "off/s": 0, "0/s": 0, "-1/s": 0, "": 0, "1/2s": 0} {
		n, per, err := amount.Rate(s)
		if wrong := err != nil; wrong != (want == 0) || !wrong && per != want {
			t.Errorf("%q is %d in %v, %v", s, n, per, err)
		}
	}
}

// What Text writes, Bytes reads.
func TestText(t *testing.T) {
	for _, n := range []int64{1, 1023, 1024, 1536, 64 << 10, 5 << 20, 3 << 40, 1<<40 + 1, 7 << 50} {
		if got, err := amount.Bytes(amount.Text(n), 0); got != n || err != nil {
			t.Errorf("%d is %q, which is %d, %v", n, amount.Text(n), got, err)
		}
	}
}

func Example() {
	n, _ := amount.Bandwidth("10MiB/s", 0)
	count, per, _ := amount.Rate("200/day")
	fmt.Println(n, count, per)
	// Output: 10485760 200 24h0m0s
}

// A number of bytes for people has few digits, in the unit that suits it.
func TestRoundedHasFewDigits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 100 << 10: "100 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB", 5000 << 40: "5000 TiB",
	} {
		if is := amount.Rounded(n); is != want {
			t.Errorf("%d: %s, want %s", n, is, want)
		}
	}
}
