package limits

// Entries returns how many prefixes are known.
func (a *Addresses) Entries() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns.entries) + len(a.claims.entries)
}

// MaxEntries is how many there may be, of each table.
const MaxEntries = maxEntries

// Overflows is how many accounts those beyond it share.
const Overflows = overflows

// Shrink makes the tables hold no more than n prefixes each.
func (a *Addresses) Shrink(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.readyLocked()
	a.conns.max, a.claims.max = n, n
}

// Accounts returns how many names and identities have one.
func (o *Owners) Accounts() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.names) + len(o.keys)
}

// MinAccounts is how many there are before idle ones are looked for.
const MinAccounts = minAccounts

// ValidationBytes is how much a CA's validation may carry.
const ValidationBytes = validationBytes

// Shrink makes u remember no more than n owners.
func (u *Usage) Shrink(n int) { u.max = n }
