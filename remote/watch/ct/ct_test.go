package ct

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyAForeignKeyIsFound(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.monitor.add([]byte("no certificate"))
		r.monitor.add(r.foreign("other.relay.test", "*.xyz.relay.test", "relay.test"))
		own := r.own()
		r.monitor.add(own.Raw)
		letPass(hours)
		if got := r.told(); len(got) > 0 || r.monitor.asked() == 0 {
			t.Fatalf("after %d questions: %+v", r.monitor.asked(), got)
		}
		if n := r.logged("cannot be read"); n != 1 {
			t.Fatalf("a certificate that cannot be read is logged %d times", n)
		}
		r.monitor.add(r.foreign(domain))
		letPass(hours)
		got := r.told()
		if len(got) != 1 || got[0].Name != domain || got[0].ID != "5" || got[0].Old || got[0].Key != keyOf(got[0].Certificate) {
			t.Fatalf("%+v", got)
		}
		letPass(4 * hours)
		if got := r.told(); len(got) > 0 {
			t.Fatalf("told again: %+v", got)
		}
	})
}

func TestWildcardsAndPrecertificatesCount(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		letPass(hours)
		r.monitor.add(r.foreign("a.test", "*.relay.test"))
		r.monitor.add(precertificate(t, domain).Raw)
		own := precertificate(t, domain)
		r.know(keyOf(own))
		r.monitor.add(own.Raw)
		letPass(hours)
		if got := r.told(); len(got) != 2 {
			t.Fatalf("%+v", got)
		}
	})
}

// What lasts is told once a day, and after each start; with its expiry it ends, and when
// the key is known after all.
func TestAForeignKeyIsToldUntilItIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.monitor.add(r.foreign(domain))
		short := r.ca.IssueValid(time.Now(), time.Now().Add(36*time.Hour), domain).Leaf
		r.monitor.add(short.Raw)
		letPass(hours)
		if got := r.told(); len(got) != 2 {
			t.Fatalf("at first: %+v", got)
		}
		r.stop()
		r.start()
		letPass(time.Minute)
		if got := r.told(); len(got) != 2 {
			t.Fatalf("after a start: %+v", got)
		}
		letPass(52 * time.Hour)
		got := r.told()
		if n := len(slices.DeleteFunc(slices.Clone(got), func(f Finding) bool { return f.Certificate.Equal(short) })); n != 2 || len(got) != 3 {
			t.Fatalf("after two days: %+v", got)
		}
		r.know(got[2].Key)
		letPass(48 * time.Hour)
		if got := r.told(); len(got) > 0 {
			t.Fatalf("of a key that is known: %+v", got)
		}
	})
}

// A certificate from before the record of keys may have been the device's own.
func TestACertificateFromBeforeIsToldAsOld(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.monitor.add(r.ca.IssueValid(r.begun.Add(-24*time.Hour), time.Now().Add(24*time.Hour), domain).Leaf.Raw)
		letPass(hours)
		if got := r.told(); len(got) != 1 || !got[0].Old {
			t.Fatalf("%+v", got)
		}
	})
}

// A certificate that is brought along is in the logs before its files are here.
func TestABroughtCertificateMayComeLate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.mu.Lock()
		r.names[0].Brought = true
		r.mu.Unlock()
		late := r.ca.IssueValid(time.Now(), time.Now().Add(24*time.Hour), domain).Leaf
		r.monitor.add(late.Raw)
		letPass(hours)
		r.know(keyOf(late))
		r.monitor.add(r.foreign(domain))
		letPass(hours)
		if got := r.told(); len(got) > 0 {
			t.Fatalf("told at once: %+v", got)
		}
		letPass(4 * hours)
		if got := r.told(); len(got) != 1 || got[0].Certificate.Equal(late) {
			t.Fatalf("%+v", got)
		}
	})
}

// The test signal: each way in which the monitor does not show the device's own
// certificate is told within a day of it, and no sooner.
func TestAWatchThatDoesNotWorkSaysSo(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"leaves it out":  always(http.StatusOK, "[]"),
		"dead":           away,
		"rate limited":   always(http.StatusTooManyRequests, `{"code":"rate_limited","message":"slow down"}`, "Retry-After", "7200"),
		"broken":         always(http.StatusOK, `{"code":"x"}`),
		"no JSON":        always(http.StatusOK, `<html>`),
		"lacks the rest": always(http.StatusOK, `[{"id":"1","cert_der":"`),
		"moved":          always(http.StatusFound, ``, "Location", "https://else.test/"),
		"other names":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				if answer == nil {
					foreign := r.foreign("other.test")
					for range 30 {
						r.monitor.add(foreign)
					}
				}
				r.monitor.answer(answer)
				r.start()
				defer r.stop()
				letPass(SignalLimit - time.Minute)
				if r.logged(blind) > 0 {
					t.Fatal("told too early")
				}
				letPass(3 * time.Hour)
				if n := r.logged(blind); n != 1 {
					t.Fatalf("told %d times", n)
				}
				letPass(20 * time.Hour)
				if r.logged(blind) > 0 {
					t.Fatal("told more than once a day")
				}
				letPass(6 * time.Hour)
				if n := r.logged(blind); n != 1 {
					t.Fatalf("told %d times on the second day", n)
				}
				r.monitor.answer(nil)
				r.monitor.add(r.names[0].Certificate.Raw)
				letPass(3 * time.Hour)
				if n := r.logged(works); n != 1 {
					t.Fatalf("it is told %d times that it works again", n)
				}
				letPass(30 * time.Hour)
				if r.logged(blind) > 0 || len(r.told()) > 0 {
					t.Fatal("told although it works")
				}
			})
		})
	}
}

// A monitor may be late, as long as it is not later than a day.
func TestALateMonitorIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		letPass(22 * time.Hour)
		r.monitor.add(r.names[0].Certificate.Raw)
		letPass(30 * time.Hour)
		if r.logged(blind) > 0 {
			t.Fatal("told to be blind")
		}
		r.mu.Lock()
		r.names[0].Certificate = nil
		r.mu.Unlock()
		newest := r.own()
		r.mu.Lock()
		r.names[0].Certificate = newest // which never shows up
		r.mu.Unlock()
		letPass(SignalLimit + 2*time.Hour)
		if n := r.logged(blind); n != 1 {
			t.Fatalf("of a renewed certificate: told %d times", n)
		}
	})
}

// What cannot be found: a monitor that shows the device's own certificates and hides
// another one looks like one that works.
func TestAMonitorThatHidesACertificateLooksWell(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_ = r.foreign(domain) // in no answer
		letPass(3 * SignalLimit)
		if r.logged(blind) > 0 || len(r.told()) > 0 {
			t.Fatal("it was found: then the docs say too little")
		}
	})
}

func TestQuestionsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.names = append(r.names, Name{Domain: "two.relay.test"})
		r.start()
		letPass(24 * time.Hour)
		r.stop()
		last := make(map[string]time.Time)
		for i, q := range r.monitor.questions {
			if since := r.monitor.at[i].Sub(last[q]); since < interval {
				t.Fatalf("%q again after %v", q, since)
			}
			last[q] = r.monitor.at[i]
		}
		if n := r.monitor.asked(); n < 40 || n > 50 {
			t.Fatalf("%d questions for two names in a day", n)
		}
		before := r.monitor.asked()
		for range 5 { // starts that follow each other
			r.start()
			letPass(6 * time.Minute)
			r.stop()
		}
		if n := r.monitor.asked() - before; n > 2 {
			t.Fatalf("%d questions in half an hour of starts", n)
		}
	})
}

// Where there were too many questions, none is asked for any name until the time that the
// monitor gives, or for an hour.
func TestALimitIsObeyed(t *testing.T) {
	for header, least := range map[string]time.Duration{"10000": 10000 * time.Second, "": interval, "x": interval, "99999999": maxRetryAfter} {
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.names = append(r.names, Name{Domain: "two.relay.test"}, Name{Domain: "three.relay.test"})
				r.monitor.answer(always(http.StatusTooManyRequests, `{"message":"slow\ndown"}`, "Retry-After", header))
				r.start()
				defer r.stop()
				letPass(6 * time.Minute)
				if n := r.monitor.asked(); n != 1 {
					t.Fatalf("%d questions at first", n)
				}
				if r.logged(`answers 429 Too Many Requests`) != 1 {
					t.Fatal("the log does not say why")
				}
				letPass(least - 7*time.Minute)
				if n := r.monitor.asked(); n != 1 {
					t.Fatalf("%d questions before the limit was over", n)
				}
				r.monitor.answer(nil)
				letPass(2 * hours)
				if n := r.monitor.asked(); n < 4 {
					t.Fatalf("%d questions in all", n)
				}
			})
		})
	}
}

// The pages of an answer follow each other; of a long one the rest follows an hour later,
// also in another run.
func TestPagesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor.page = 10
		own := r.names[0].Certificate
		for range 10*maxPages + 5 {
			r.monitor.add(own.Raw)
		}
		r.monitor.add(r.foreign(domain))
		r.start()
		letPass(hours - 40*time.Minute)
		if n := r.monitor.asked(); n != maxPages || len(r.told()) > 0 {
			t.Fatalf("%d questions", n)
		}
		r.stop()
		r.start()
		defer r.stop()
		letPass(2 * hours)
		if got := r.told(); len(got) != 1 {
			t.Fatalf("%+v", got)
		}
		if q := r.monitor.questions[maxPages]; q != fmt.Sprintf("%s after %d", domain, 10*maxPages) {
			t.Fatalf("went on with %q", q)
		}
	})
}

// An answer without an end is read up to the limit, and what it held until then counts.
func TestAHugeAnswerIsCutOff(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		letPass(hours)
		head := fmt.Sprintf(`[{"id":"9","cert_der":"%s"},{"id":"10","x":"`, base64Of(r.foreign(domain)))
		r.monitor.answer(always(http.StatusOK, head+strings.Repeat("x", maxPage+100)))
		letPass(hours)
		if n := r.logged("the monitor's answer is longer than"); n != 1 || len(r.told()) != 1 {
			t.Fatalf("logged %d times", n)
		}
	})
}

func TestAnswersThatGoRoundEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.monitor.answer(always(http.StatusOK, fmt.Sprintf(`[{"id":"1","cert_der":"%s"}]`, base64Of(r.names[0].Certificate.Raw))))
		letPass(hours / 2)
		if n := r.monitor.asked(); n != 2 || r.logged("round in circles") != 1 {
			t.Fatalf("%d questions", n)
		}
	})
}

// The time of a question and the wish of a monitor never keep a name from being watched
// for ever: not after the clock was set back.
func TestAClockThatWentBackStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := State{URL: CertSpotter, Asked: time.Now().Add(1000 * time.Hour)}
		if err := s.save(r.dir, domain); err != nil {
			t.Fatal(err)
		}
		r.start()
		defer r.stop()
		letPass(hours)
		if r.monitor.asked() == 0 {
			t.Fatal("nothing was asked")
		}
	})
}

func TestADamagedFileIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		write(t, stateFile(r.dir, domain), "{")
		r.start()
		defer r.stop()
		letPass(hours)
		if r.logged("is lost; everything is asked for anew") != 1 || r.monitor.asked() == 0 {
			t.Fatal("it is not said, or nothing was asked")
		}
		if s, err := Load(r.dir, domain); err != nil || s.Answered.IsZero() {
			t.Fatalf("%+v, %v", s, err)
		}
	})
}
