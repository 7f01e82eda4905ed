package cluster

import (
	"maps"
	"sync"
)

const (
	// orderRate is how many turns the remotes of this node may begin in a second beyond
	// orderBurst, and ownRate how many of these those of one identity beyond ownBurst: each
	// is told to all nodes, and its end, too, and these take otherRate. So an identity that
	// begins as many as it can leaves some to others. Keys cost nothing, so those of one
	// address have a part, too.
	orderRate, orderBurst = 100, 1000
	ownRate, ownBurst     = 0.1, 64
)

// orders bound how often remotes begin turns. The zero value is ready.
type orders struct {
	mu  sync.Mutex
	all meter
	by  map[[keySize]byte]*meter // by identity, those that have begun some lately
}

// take reports whether an identity may begin a turn now, and its address, which may says.
func (o *orders) take(key [keySize]byte, may func() bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.by[key]
	if m == nil {
		if o.by == nil {
			o.by, o.all = make(map[[keySize]byte]*meter), meter{rate: orderRate, burst: orderBurst}
		}
		m = &meter{rate: ownRate, burst: ownBurst}
	}
	if m.has() < 1 || o.all.has() < 1 || !may() {
		return false
	}
	o.by[key] = m // so no more come in than orderRate says, and they are forgotten
	return m.take(1) && o.all.take(1)
}

// forget drops the identities that may begin as many as any.
func (o *orders) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.by, func(_ [keySize]byte, m *meter) bool { return m.has() >= m.burst })
}

// keyOf is a key as that of a map.
func keyOf(key []byte) (k [keySize]byte) {
	copy(k[:], key)
	return k
}
