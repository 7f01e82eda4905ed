package cluster

import (
	"strconv"
	"testing"

	"keystay/framing"
	"keystay/internal/keyname"
)

// Names that are made from a key anybody has by the thousand: their turns leave half of the
// places to others, and none stays taken once its run has the name no more.
func TestTurnsOfMadeNamesLeavePlaces(t *testing.T) {
	var s turns
	run := by(1, 5, 1).Runs[0]
	here := func(framing.Run) bool { return true }
	began := 0
	for i := range maxTurns + 10 {
		if _, granted, _ := s.decide(keyname.Label(make([]byte, 32), strconv.Itoa(i))+".relay.test", run, true, here); granted {
			began++
		}
	}
	for _, name := range []string{"app.relay.test", "example.test"} {
		if _, granted, _ := s.decide(name, by(2, 1, 2).Runs[0], true, here); !granted {
			t.Errorf("%s gets no turn beside %d of names that are made from keys", name, began)
		}
	}
	s.forget(func(name string, _ framing.Run) bool { return name == "app.relay.test" })
	if _, ok := s.of("app.relay.test"); !ok {
		t.Error("the turn of a run that has its name is forgotten")
	}
	if n := len(s.known); n > 1 {
		t.Errorf("%d turns are left of runs that have the names no more", n)
	}
	if _, granted, _ := s.decide(keyname.Label(make([]byte, 32), "")+".relay.test", run, true, here); !granted || s.made != 1 {
		t.Errorf("no turn where places are free, and %d are counted", s.made)
	}
}
