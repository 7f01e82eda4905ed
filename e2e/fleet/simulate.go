package main

// A Result is all that was simulated, of one setting.
type Result struct {
	Setting Setting
	Costs   Costs
	Rest    Rest
	Killed  Move   // the process of a node
	Died    Move   // the machine of a node
	Drained Move   // a node
	Parted  Parted // the first region
	Rolled  Roll   // all nodes drained and started anew, one after the other
}

// A Roll is what comes of all nodes being drained and started anew, one by one.
type Roll struct {
	Longest     Move // of the nodes, that for which it took longest
	Moved       int  // links in all
	Least, Most int  // links of a node, after all
}

// Simulate lets all that happen, each to a fleet in which nothing else has.
func Simulate(s Setting, c Costs) (r Result) {
	r.Setting, r.Costs = s, c
	f := New(s, c)
	r.Rest, r.Parted = f.Rest(), f.Part(0)
	r.Killed = f.Die(0, false)
	r.Died = New(s, c).Die(0, true)
	r.Drained = New(s, c).Drain(0)
	r.Rolled = New(s, c).roll()
	return r
}

// roll drains each node, and starts it anew when it has no link any more.
func (f *Fleet) roll() (r Roll) {
	for n := range f.nodes {
		m := f.Drain(n)
		r.Moved += m.Links
		if m.All > r.Longest.All {
			r.Longest = m
		}
		f.Back(n)
	}
	r.Least, r.Most = f.spread()
	return r
}
