package relay

import (
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"
)

// MaxHoldsPerName is how many visitors of one name may wait for its remote.
const MaxHoldsPerName = maxHoldsPerName

// Backdate moves the time when a name was last seen into the past.
func (g *Grants) Backdate(name string, by time.Duration) error {
	return g.db.Update(func(tx *bbolt.Tx) error {
		gr, err := read(tx, name)
		if err != nil {
			return err
		}
		gr.Seen = gr.Seen.Add(-by)
		b, err := json.Marshal(gr)
		if err != nil {
			return err
		}
		return tx.Bucket(bucketGrants).Put([]byte(name), b)
	})
}

// SetCount pretends that n names were given out.
func (g *Grants) SetCount(n uint64) error {
	return g.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketGrants).SetSequence(n) })
}

// Count is how many names were given out.
func (g *Grants) Count() (n uint64) {
	g.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(bucketGrants).Sequence()
		return nil
	})
	return n
}

// Spoil makes the grant of a name unreadable.
func (g *Grants) Spoil(name string) error {
	return g.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketGrants).Put([]byte(name), []byte("noise")) })
}

// Holds is how many visitors wait for a remote, and for how many names.
func (s *Server) Holds() (visitors, names int) {
	s.holds.mu.Lock()
	defer s.holds.mu.Unlock()
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	return s.holds.total, len(s.holds.names) + len(s.presence.awaited)
}
