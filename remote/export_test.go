package remote

// WakeUp does what the end of a sleep and another network do.
func WakeUp(l *Listener) { l.wakeUp() }

// EndLate makes l take no visitor any more, not even one that is on its way.
func EndLate(l *Listener) { l.endLate() }
