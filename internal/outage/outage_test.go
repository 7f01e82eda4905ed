package outage_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/outage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleOutage() {
	var o outage.Outage
	for range 3 {
		if tell, all := o.Failed(1); tell {
			fmt.Println("it does not answer, failures:", all)
		}
	}
	if _, all, told := o.Ends(); told {
		fmt.Println("it answers again, failures:", all)
	}
	// Output:
	// it does not answer, failures: 1
	// it answers again, failures: 3
}

// A fault that lasts is told at once, after a minute, and then ever more rarely,
// down to once an hour.
func TestLastingFaultIsToldEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage.Outage
		var at []time.Duration
		for begin := time.Now(); time.Since(begin) < 5*time.Hour; time.Sleep(time.Second) {
			if tell, _ := o.Failed(1); tell {
				at = append(at, time.Since(begin))
			}
		}
		if got, want := fmt.Sprint(at), "[0s 1m0s 3m0s 7m0s 15m0s 31m0s 1h3m0s 2h3m0s 3h3m0s 4h3m0s]"; got != want {
			t.Errorf("told at %s, want %s", got, want)
		}
	})
}

// A fault that comes and goes is not told more often than one that lasts.
func TestFaultThatComesAndGoesIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage.Outage
		begins := o.Begins()
		told := 0
		for range 120 {
			if tell, _ := o.Failed(1); tell {
				told++
			}
			select {
			case <-begins:
			default:
				t.Fatal("a beginning was not heard")
			}
			o.Ends()
			if _, _, again := o.Ends(); again {
				t.Fatal("an outage ends twice")
			}
			time.Sleep(time.Second)
		}
		if told != 2 {
			t.Errorf("told %d times in two minutes", told)
		}
	})
}
