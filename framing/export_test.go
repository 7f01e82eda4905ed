package framing

// PoolUsed is how much of a link's pool is granted.
func PoolUsed(l *Link) int {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.pool.used
}
