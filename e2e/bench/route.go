//go:build linux

package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"keystay/e2e/bench/internal/result"
	"keystay/e2e/bench/internal/site"
	"keystay/relay/names"
)

// route measures how long a new visitor takes to the first answer, and one of a
// name that nobody has to the refusal, by relays that know a few and very many
// names.
func (b *bench) route() error {
	if !b.has("route") || !b.wants(session) {
		return nil
	}
	var relays []*subject
	known := []int{10, b.plan.names}
	defer func() {
		for _, s := range relays {
			s.stop()
		}
	}()
	for _, n := range known {
		b.say("# a relay that knows %d names", n)
		s, err := b.startKnowing(session, n)
		if err != nil {
			return fmt.Errorf("route: %w", err)
		}
		relays = append(relays, s)
	}
	for round := 1; round <= b.plan.rounds; round++ {
		for i, s := range relays {
			for kind, visit := range map[string]func(*subject) error{"present": visitOnce, "unknown": visitNobody} {
				m, err := b.visits(s, visit)
				if err != nil {
					return fmt.Errorf("route to %s: %w", kind, err)
				}
				m.Test, m.Subject, m.Link, m.Round, m.Case, m.Names = "route", session, "loopback", round, kind, known[i]
				if err := b.note(m); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *bench) wants(subject string) bool { return slices.Contains(b.subjects, subject) }

// visits makes visits one after the other.
func (b *bench) visits(s *subject, visit func(*subject) error) (m result.Measurement, err error) {
	all := make([]time.Duration, 0, b.plan.visits)
	for range b.plan.visits {
		start := time.Now()
		if err := visit(s); err != nil {
			return m, err
		}
		all = append(all, time.Since(start))
	}
	m.Latencies(all)
	return m, nil
}

// visitNobody asks for a name that the relay has never heard of, and has to be
// refused.
func visitNobody(s *subject) error {
	door := s.door
	door.Name = "nobody." + zone
	v, err := door.Open()
	if err == nil {
		v.Close()
		return errors.New("a name that nobody has was answered")
	}
	if !site.Unrecognized(err) {
		return err
	}
	return nil
}

// startKnowing starts a subject whose relay has given out n names before.
func (b *bench) startKnowing(what string, n int) (*subject, error) {
	s, err := b.startPrepared(what, loopback(), func(dir string) error { return giveOut(relayState(dir), n) })
	if err != nil {
		return nil, err
	}
	if err := knows(s, givenName(n-1)); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// knows checks that the relay has read what was written: a visitor of a name
// that is known, and whose remote is away, is held and not refused at once.
func knows(s *subject, given string) error {
	c, err := net.Dial("tcp", s.door.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	err = tls.Client(c, &tls.Config{ServerName: given, RootCAs: s.door.Roots}).Handshake()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the relay does not know the name %s, which was written into its record: %w", given, err)
	}
	return nil
}

// givenAtOnce is how many names are written in one transaction.
const givenAtOnce = 50_000

// givenName is a name that giveOut has written.
func givenName(i int) string { return fmt.Sprintf("name%07d.%s", i, zone) }

// giveOut writes n names into the record of a relay that is not running, in the
// form of names.Grants, each of an identity of its own.
func giveOut(dir string, n int) error {
	g, err := names.OpenGrants(dir) // which makes it
	if err != nil {
		return err
	}
	if err := g.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(filepath.Join(dir, "names.db"), 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		return err
	}
	defer db.Close()
	now := time.Now().UTC()
	for from := 0; from < n; from += givenAtOnce {
		err := db.Update(func(tx *bbolt.Tx) error {
			for i := from; i < min(n, from+givenAtOnce); i++ {
				if err := give(tx, givenName(i), now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(db.Sync(), os.Chmod(filepath.Join(dir, "names.db"), 0o600))
}

func give(tx *bbolt.Tx, name string, at time.Time) error {
	grants, holders := tx.Bucket([]byte("grants")), tx.Bucket([]byte("holders"))
	if grants == nil || holders == nil {
		return errors.New("the relay keeps its names in another form than this program knows")
	}
	key := sha256.Sum256([]byte(name))
	b, err := json.Marshal(map[string]any{"key": key[:], "since": at, "seen": at})
	if err != nil {
		return err
	}
	if _, err := grants.NextSequence(); err != nil {
		return err
	}
	return errors.Join(grants.Put([]byte(name), b), holders.Put(append(key[:], name...), nil))
}
