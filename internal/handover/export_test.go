//go:build linux || darwin || freebsd

package handover

// MaxUntold is how many claims wait at most.
const MaxUntold = maxUntold

// Interrupt ends Claims, as Close does, and does not wait for it.
func (o *Old) Interrupt() { o.w.conn.Close() }
