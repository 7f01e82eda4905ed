package remote

// Rouse does what the end of a sleep and another network do.
func Rouse(l *Listener) { l.rouse() }
