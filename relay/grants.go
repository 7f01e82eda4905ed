package relay

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"keystay/framing"
)

const (
	// GrantTime is how long a name is kept for an identity that is not seen.
	GrantTime = 365 * 24 * time.Hour
	// MaxNamesPerIdentity is how many names one identity may hold.
	MaxNamesPerIdentity = 32
	// MaxGrants is how many names a relay gives out in all.
	MaxGrants = 1 << 20
	// seenStep is how exactly it is kept when a name was last used.
	seenStep = 24 * time.Hour
)

var (
	bucketGrants  = []byte("grants")  // name -> grant
	bucketHolders = []byte("holders") // key, name -> nothing: the names of a key
)

// ErrInUse is wrapped by the error of OpenGrants when another process has the
// file open.
var ErrInUse = errors.New("another relay uses this state_dir")

// errGrantsClosed is the error of a record that is closed: another process has
// it, or will have.
var errGrantsClosed = errors.New("the record of names is closed")

// Grants is the durable record of who may use which name. A name is kept from
// its grant until its holder has not been seen for GrantTime.
//
// It may be closed and opened again while a Server uses it. Meanwhile nothing
// can be claimed, and visitors reach the names whose remotes are connected.
type Grants struct {
	file    string
	opening sync.Mutex // one Reopen at a time

	mu     sync.RWMutex  // held while db is used
	db     *bbolt.DB     // nil while closed
	opened chan struct{} // closed when db is opened again
}

// grant is the stored form.
type grant struct {
	Key   []byte    `json:"key"`
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
}

func (g *grant) expired() bool { return time.Since(g.Seen) > GrantTime }

// OpenGrants opens the record in dir, which it makes if need be. The caller
// closes it.
func OpenGrants(dir string) (*Grants, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state_dir: %w", err)
	}
	g := &Grants{file: filepath.Join(dir, "names.db")}
	if err := g.Reopen(); err != nil {
		return nil, err
	}
	return g, nil
}

// Reopen opens the record again after Close; if it is open, nothing happens.
func (g *Grants) Reopen() error {
	g.opening.Lock()
	defer g.opening.Unlock()
	if g.isOpen() {
		return nil
	}
	db, err := bbolt.Open(g.file, 0o600, &bbolt.Options{Timeout: time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrInUse
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", g.file, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err1 := tx.CreateBucketIfNotExists(bucketGrants)
		_, err2 := tx.CreateBucketIfNotExists(bucketHolders)
		return errors.Join(err1, err2)
	})
	if err != nil {
		db.Close()
		return fmt.Errorf("open %s: %w", g.file, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.db = db
	if g.opened != nil {
		close(g.opened)
	}
	return nil
}

func (g *Grants) isOpen() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.db != nil
}

// whenOpen returns a channel that is closed when a record that is closed now is
// open again.
func (g *Grants) whenOpen() <-chan struct{} {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.opened
}

// Close closes the record once nobody uses it. A second call does nothing.
func (g *Grants) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.db == nil {
		return nil
	}
	err := g.db.Close()
	g.db, g.opened = nil, make(chan struct{})
	return err
}

// view runs f in a transaction that reads.
func (g *Grants) view(f func(*bbolt.Tx) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.db == nil {
		return errGrantsClosed
	}
	return g.db.View(f)
}

// update runs f in a transaction that writes. Batch joins those that come at
// once, as after a restart, in one.
func (g *Grants) update(f func(*bbolt.Tx) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.db == nil {
		return errGrantsClosed
	}
	return g.db.Batch(f)
}

// read returns the grant of name, or nil.
func read(tx *bbolt.Tx, name string) (*grant, error) {
	b := tx.Bucket(bucketGrants).Get([]byte(name))
	if b == nil {
		return nil, nil
	}
	var gr grant
	if err := json.Unmarshal(b, &gr); err != nil {
		return nil, fmt.Errorf("read grant of %s: %w", name, err)
	}
	if gr.expired() {
		return nil, nil
	}
	return &gr, nil
}

// holder returns the identity that name belongs to, or nil.
func (g *Grants) holder(name string) (key ed25519.PublicKey, err error) {
	err = g.view(func(tx *bbolt.Tx) error {
		gr, err := read(tx, name)
		if gr != nil {
			key = bytes.Clone(gr.Key)
		}
		return err
	})
	return key, err
}

// keep gives name to the identity, or notes that it was seen. The error is a
// *framing.Denial when somebody else holds the name, or a limit is reached.
func (g *Grants) keep(name string, key ed25519.PublicKey) error {
	var fresh bool
	err := g.view(func(tx *bbolt.Tx) error {
		gr, err := read(tx, name)
		fresh = gr != nil && bytes.Equal(gr.Key, key) && time.Since(gr.Seen) < seenStep
		return err
	})
	if fresh || err != nil {
		return err
	}
	return g.update(func(tx *bbolt.Tx) error { return put(tx, name, key) })
}

func put(tx *bbolt.Tx, name string, key ed25519.PublicKey) error {
	grants, holders := tx.Bucket(bucketGrants), tx.Bucket(bucketHolders)
	now := time.Now().UTC()
	gr, err := read(tx, name)
	switch {
	case err != nil:
		return err
	case gr == nil:
		if held(holders, key) >= MaxNamesPerIdentity {
			return &framing.Denial{Name: name, Code: framing.DeniedLimit,
				Text: fmt.Sprintf("a device may hold %d names here", MaxNamesPerIdentity)}
		}
		if grants.Sequence() >= MaxGrants {
			return &framing.Denial{Name: name, Code: framing.DeniedLimit, Text: "this relay has given out all its names"}
		}
		if err := dropExpired(tx, name); err != nil {
			return err
		}
		if _, err := grants.NextSequence(); err != nil {
			return err
		}
		gr = &grant{Key: key, Since: now}
	case !bytes.Equal(gr.Key, key):
		return taken(name)
	}
	gr.Seen = now
	b, err := json.Marshal(gr)
	if err != nil {
		return err
	}
	return errors.Join(grants.Put([]byte(name), b), holders.Put(holderKey(key, name), nil))
}

// dropExpired removes what is left of a grant that has expired.
func dropExpired(tx *bbolt.Tx, name string) error {
	grants, holders := tx.Bucket(bucketGrants), tx.Bucket(bucketHolders)
	b := grants.Get([]byte(name))
	if b == nil {
		return nil
	}
	var old grant
	if err := json.Unmarshal(b, &old); err != nil {
		return err
	}
	return errors.Join(holders.Delete(holderKey(old.Key, name)), grants.Delete([]byte(name)),
		grants.SetSequence(max(grants.Sequence(), 1)-1))
}

func holderKey(key []byte, name string) []byte { return append(bytes.Clone(key), name...) }

// held counts the names of an identity.
func held(holders *bbolt.Bucket, key []byte) int {
	n := 0
	c := holders.Cursor()
	for k, _ := c.Seek(key); k != nil && bytes.HasPrefix(k, key); k, _ = c.Next() {
		n++
	}
	return n
}
