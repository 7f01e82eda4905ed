package main

import "keystay/e2e/fleet/costs"

// A Result is all that was simulated, of one setting.
type Result struct {
	Setting Setting
	Costs   costs.Costs
	Rest    Rest
	Killed  Move   // the process of a node
	Died    Move   // the machine of a node
	Drained Move   // a node
	Parted  Parted // the first region
	Back    Move   // that node again
}

// Simulate lets all that happen, each to a fleet in which nothing else has.
func Simulate(s Setting, c costs.Costs) (r Result) {
	r.Setting, r.Costs = s, c
	f := New(s, c)
	r.Rest, r.Parted = f.Rest(), f.Part(0)
	r.Killed = f.Clone().Die(0, false)
	r.Died = f.Clone().Die(0, true)
	drained := f.Clone()
	r.Drained = drained.Drain(0)
	r.Back = drained.Back(0)
	return r
}
