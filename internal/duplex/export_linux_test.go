package duplex

// PipesOpen returns how many pipes there are, in use or kept.
func PipesOpen() int { return int(pipes.open.Load()) }

// NoPipes lets no pipe be had until restore is called.
func NoPipes() (restore func()) {
	pipes.open.Add(maxPipes)
	for pipes.pool.Get() != nil { // the garbage collector closes them
	}
	return func() { pipes.open.Add(-maxPipes) }
}

// BreakRest makes waiting for those that rest fail.
func BreakRest(r *Rest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set.Close()
}
