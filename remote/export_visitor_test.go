package remote

// EndLate makes l take no visitor any more, not even one that is on its way.
func EndLate(l *Listener) { l.endLate() }
